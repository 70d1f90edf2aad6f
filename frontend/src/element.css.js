/**
 * The style of `<milepost-progress>`. A constructed sheet, because a strict Content-Security-Policy refuses `<style>`.
 */
export const STYLE = `
:host {
  --accent: var(--milepost-accent, light-dark(#3457d5, #8ea6ff));
  --good: var(--milepost-good, light-dark(#1a7f4b, #55c98a));
  --warning: var(--milepost-warning, light-dark(#9a5b00, #f0b45a));
  --bad: var(--milepost-bad, light-dark(#c0312b, #ff8f87));
  --muted: var(--milepost-muted, light-dark(#5d6673, #9aa4b2));
  --track: var(--milepost-track, light-dark(#e6e8ec, #2b313a));
  --tone: var(--muted);
  display: block;
  container-type: inline-size;
  font-variant-numeric: tabular-nums;
  line-height: 1.4;
}
:host([hidden]) { display: none; }
:host([data-tone="running"]) { --tone: var(--accent); }
:host([data-tone="succeeded"]) { --tone: var(--good); }
:host([data-tone="troubled"]) { --tone: var(--warning); }
:host([data-tone="failed"]) { --tone: var(--bad); }

.row { display: flex; align-items: center; gap: 0 .75em; min-height: 2em; min-width: 0; }
.row > * { flex: none; }
.facts { color: var(--muted); font-size: .875em; min-height: 1.6em; }
.label { font-weight: 600; flex: 0 1 auto; }
.status { color: var(--tone); font-size: .875em; flex: 1 1 auto; text-align: end; }
.status::before {
  content: ""; display: inline-block; inline-size: .5em; block-size: .5em; margin-inline-end: .5em;
  border-radius: 50%; background: currentColor; vertical-align: .08em;
}
.attempt { color: var(--muted); font-size: .875em; }
.message { flex: 1 1 0; }
.pace { display: flex; gap: .75em; margin-inline-start: auto; }
.label, .message, .status { min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.percent, .count { color: var(--milepost-ink, inherit); }
.percent { min-inline-size: 2.6em; font-weight: 600; }
.percent:empty { min-inline-size: 0; }
.facts :empty:not(.break), .attempt:empty { display: none; }
:host([data-waiting]) .message { white-space: normal; } /* whole: it says what somebody should do */
:host([data-waiting][data-tone="troubled"]) .message { color: var(--warning); }
:host([data-tone="failed"]) .message { color: var(--bad); }
.step:not(:has(+ .message:empty))::after { content: ":"; }

progress {
  appearance: none; display: block; inline-size: 100%; block-size: var(--milepost-bar-height, .5rem);
  margin-block: .25em .35em; border: 0; border-radius: 99px; overflow: hidden;
  background: var(--track); color: var(--tone);
}
progress::-webkit-progress-bar { background: var(--track); }
progress::-webkit-progress-value { background: var(--tone); border-radius: 99px; transition: inline-size .25s linear; }
progress::-moz-progress-bar { background: var(--tone); border-radius: 99px; transition: inline-size .25s linear; }
progress:indeterminate::-moz-progress-bar { inline-size: 0; }
progress:indeterminate::-webkit-progress-bar { background: transparent; }
progress:indeterminate {
  background: linear-gradient(90deg, var(--track) 10%, color-mix(in oklab, var(--tone) 70%, var(--track)), var(--track) 90%) 0 / 40% 100% repeat-x;
  animation: flow 1.4s linear infinite;
}
@keyframes flow { to { background-position-x: calc(200% / 3); } } /* one period: .4 of the width, of the .6 left over */

.trouble { color: var(--warning); flex: 1 1 0; } /* instead of what was said before the connection broke */
.trouble:not(:empty) ~ :is(.step, .message) { display: none; }

button {
  font: inherit; font-size: .875em; color: inherit; cursor: pointer;
  padding: .2em .8em; border: 1px solid var(--milepost-line, light-dark(#cfd4db, #454d59)); border-radius: .5em;
  background: transparent;
}
button:hover:not([aria-disabled="true"]) { border-color: currentColor; }
button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
button[aria-disabled="true"] { color: var(--muted); cursor: default; }
button[hidden] { display: none; }

.announcement {
  position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}
.break { display: none; }
@container (max-width: 28rem) { /* two lines of facts, always: percent, count, time left; then step, message, rate */
  .row { flex-wrap: wrap; }
  .label { flex: 1 1 0; }
  .head .status { order: 1; flex-basis: 100%; text-align: start; }
  .facts { min-height: 2.9em; align-content: start; line-height: 1.45; }
  .facts .count { flex: 1 1 0; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .pace { display: contents; }
  .break { display: block; flex-basis: 100%; order: 1; }
  .step, .message, .trouble { order: 2; }
  .rate { order: 3; }
}
@media (prefers-reduced-motion: reduce) {
  progress::-webkit-progress-value { transition: none; }
  progress::-moz-progress-bar { transition: none; }
  progress:indeterminate {
    animation: none;
    background: repeating-linear-gradient(90deg, var(--tone) 0 .5rem, var(--track) .5rem 1rem);
  }
}
@media (forced-colors: active) {
  progress { border: 1px solid CanvasText; forced-color-adjust: none; background: Canvas; color: Highlight; }
  progress::-webkit-progress-bar { background: Canvas; }
  progress::-webkit-progress-value { background: Highlight; }
  progress::-moz-progress-bar { background: Highlight; }
  progress:indeterminate { background: repeating-linear-gradient(90deg, Highlight 0 .5rem, Canvas .5rem 1rem); animation: none; }
}
`
