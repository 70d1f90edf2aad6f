/**
 * The style of `<milepost-progress>`, terse because it is sent as it stands. The ink is the page's own, light or dark; what
 * is quieter is a part of it, and the colours can be seen on both. `--way` is where a bar comes from: the fill lies as far
 * outside of its track as is missing, so that it moves without a layout. Two lines of facts, whatever they say:
 * nothing jumps. What is off screen is not laid out.
 */
export const STYLE = `:host{--tone:#888;display:block;content-visibility:auto;contain-intrinsic-size:auto 5.5em;line-height:1.5;font-variant-numeric:tabular-nums}
:host([hidden]),[hidden]{display:none}
:host([data-tone=running]){--tone:var(--milepost-accent,#4a6cf0)}
:host([data-tone=succeeded]){--tone:var(--milepost-good,#2a9d5c)}
:host([data-tone=troubled]){--tone:var(--milepost-warning,#c27803)}
:host([data-tone=failed]),:host([data-tone=refused]){--tone:var(--milepost-bad,#e0453a)}
#head{display:flex;align-items:center;gap:.75em;min-height:2em}
#label,#percent{flex:1;font-weight:600}
#percent{flex:none}
#label,#far,#words{min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
#track{display:block;position:relative;overflow:hidden;margin-block:.25em;height:var(--milepost-bar-height,.5rem);border-radius:9em;background:var(--milepost-track,color-mix(in srgb,currentColor 12%,#0000))}
#bar,#fill{position:absolute;inset:0;width:100%;opacity:0}
#fill{--way:-1;opacity:1;border-radius:9em;background:var(--tone)}
#fill:dir(rtl){--way:1}
:indeterminate+#fill{width:40%;animation:2s ease-in-out infinite alternate flow}
@keyframes flow{to{translate:calc(var(--way)*-150%)}}
#facts{display:grid;grid:auto-flow minmax(1.75em,auto)/1fr auto;gap:0 .75em;align-items:center;font-size:.875em}
#rate,#time{justify-self:end}
#attempt,#message,#rate,#time{color:var(--milepost-muted,color-mix(in srgb,currentColor 75%,#0000))}
#facts>*>*{margin-inline-end:.75em}
#facts>*>*,#rate,#time{unicode-bidi:plaintext}
#facts>*>:empty,#rate:empty{display:none}
#words:has(+:empty){grid-column:1/-1}
#status:before{content:"";display:inline-block;border:.3em solid var(--tone);border-radius:1em;margin-right:.5em}
:host(:not([data-tone=running])) #words{white-space:normal;overflow-wrap:anywhere}
#trouble:not(:empty):before{content:"\\26A0\\A0";color:var(--milepost-warning,#c27803)}
#trouble:not(:empty)~*{display:none}
button{font:inherit;font-size:.875em;color:inherit;background:0 0;border:1px solid color-mix(in srgb,currentColor 50%,#0000);border-radius:.5em;padding:.1em .75em;outline-offset:-2px}
[aria-disabled=true]{opacity:.5}
#said{position:absolute;clip-path:inset(50%)}
@media(prefers-reduced-motion){:indeterminate+#fill{width:100%;animation:none;background:repeating-linear-gradient(90deg,var(--tone) 0 .5em,#0000 0 1em)}}
@media(forced-colors:active){#track{border:1px solid}#fill{forced-color-adjust:none;--tone:Highlight}}`
