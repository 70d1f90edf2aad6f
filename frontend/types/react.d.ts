/** What src/react.js needs of React: the checks of types bring no React along. */
declare module "react" {
  export function useCallback<F extends (...given: never[]) => unknown>(callback: F, depends: readonly unknown[]): F
  export function useMemo<T>(make: () => T, depends: readonly unknown[]): T
  export function useSyncExternalStore<T>(subscribe: (changed: () => void) => () => void, read: () => T, readOnServer?: () => T): T
}
