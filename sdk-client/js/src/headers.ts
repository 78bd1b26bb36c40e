/** Headers as name and value, in order of arrival; names in any case. */
export type Pairs = ReadonlyArray<readonly [string, string]>;

/** Every value of a header, whatever its case. */
export function all(headers: Pairs, name: string): string[] {
  return headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}

/** The first value that is not blank. */
export function first(headers: Pairs, name: string): string | undefined {
  return all(headers, name).map((value) => value.trim()).find((value) => value !== "");
}
