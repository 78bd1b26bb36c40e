/** Headers as name and value, in order of arrival; names in any case. */
export type Pairs = ReadonlyArray<readonly [string, string]>;

/** What callbacks get: `headers.get("svix-id")`, `headers["svix-id"]`, `headers["Svix-Id"]` are the same. */
export type HeaderView = { get(name: string): string | null } & { readonly [name: string]: string | undefined };

/** Of a flat list, name, value, name, as `rawHeaders` of node:http. */
export function pairs(raw: readonly string[]): Array<[string, string]> {
  return raw.flatMap((name, at) => at % 2 === 0 ? [[name, raw[at + 1] ?? ""] as [string, string]] : []);
}

/** Every value of a header, whatever its case. */
export function all(headers: Pairs, name: string): string[] {
  return headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}

/** The first value that is not blank. */
export function first(headers: Pairs, name: string): string | undefined {
  return all(headers, name).map((value) => value.trim()).find((value) => value !== "");
}

/** Headers for callbacks. */
export function view(headers: Pairs): HeaderView {
  const get = (name: string) => first(headers, name.toLowerCase()) ?? null;
  return new Proxy({}, {
    get: (_, name) => typeof name !== "string" ? undefined : name === "get" ? get : get(name) ?? undefined,
    has: (_, name) => typeof name === "string" && get(name) !== null,
  }) as HeaderView;
}
