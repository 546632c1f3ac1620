// What a release is: its index, the files that lead to it, its rows and their digest. Nothing here reads the network.
import { createHash } from "node:crypto";
import { parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";

export type Row = {
  number: number; last: number | null; entry: number; since: number; until: number | null;
  level: string; category: string; issuer: string; scope: string; op?: string;
};
export type File = { path: string; length: number };
export type Release = {
  serial: number; published_at: string; rows: number; digest: string; snapshot?: File | null; delta?: File | null;
};
export type Index = Release & { protocol: number; feed: string; last_entry: number; releases: Release[] };
export type Base = { era: number; serial: number; digest: string };
export type State = Base & { published_at: string; rows: Row[]; protected: number[]; expires: string };

export class Refusal extends Error {
  constructor(readonly kind: string, message: string) { super(message); }
}
export function must(condition: unknown, message: string, kind = "malformed"): asserts condition {
  if (!condition) throw new Refusal(kind, message);
}

const TEXTS = ["level", "category", "issuer", "scope"] as const;
const COLUMNS = ["number", "last", "entry", "since", "until", ...TEXTS];
const SCOPES = ["data", "messaging", "sms", "voice"];
export const end = (row: Row) => row.last ?? row.number;
export const key = (row: Row) => `${row.number} ${end(row)} ${row.entry}`;
export const order = (a: Row, b: Row) => a.number - b.number || end(a) - end(b) || a.entry - b.entry;

// Digest

export const sha256 = (...parts: (Buffer | string)[]) =>
  parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
const whole = (value: number | bigint, bytes: 4 | 8) => {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 8) buffer.writeBigInt64LE(BigInt(value)); else buffer.writeUInt32LE(Number(value));
  return buffer;
};

function record(row: Row): Buffer {
  const integers = [row.number, end(row), row.entry, row.since, row.until ?? 2n ** 63n - 1n];
  const texts = TEXTS.map((name) => sha256(row[name]).subarray(0, 8));
  return Buffer.concat([...integers.map((value) => whole(value, 8)), ...texts]);
}

function part(rows: Row[], first: number, bits: number, inside = false): Buffer {
  if (rows.length === 0) return Buffer.alloc(0);
  if (rows.length <= 64 || bits === 0) return sha256(...rows.map(record));
  if (bits % 4 === 0 && !inside) return sha256("node", part(rows, first, bits, true));
  const middle = first + 2 ** (bits - 1);
  const [lower, upper] = [rows.filter((row) => row.number < middle), rows.filter((row) => row.number >= middle)];
  return Buffer.concat([part(lower, first, bits - 1), part(upper, middle, bits - 1)]);
}

export function digest(rows: Row[]): string {
  const columns = TEXTS.flatMap((name) => {
    const values = [...new Set(rows.map((row) => row[name]))].map((value) => Buffer.from(value)).sort(Buffer.compare);
    return [whole(values.length, 4), ...values.flatMap((value) => [whole(value.length, 4), value])];
  });
  const top = sha256("node", part(rows, 0, 52, true));
  return `tree-${sha256("blocklist tree 1\n", whole(rows.length, 8), ...columns, top).toString("hex")}`;
}

// The index and the plan

export function checkedIndex(data: Buffer, feed: string): Index {
  const index = JSON.parse(data.toString()) as Index;
  must(index.protocol === 1, `protocol ${index.protocol} is not known here`);
  must(index.feed === feed, `it is the index of ${index.feed}`);
  must(Array.isArray(index.releases) && index.releases.length > 0, "it offers no release");
  for (const release of [index, ...index.releases]) {
    must([release.serial, release.rows].every(Number.isSafeInteger), "a serial or a count is no integer");
    must(/^tree-[0-9a-f]{64}$/.test(release.digest), "a digest is of a kind that is not known here");
    must(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i.test(release.published_at), "it names no moment");
    for (const file of [release.snapshot, release.delta]) {
      if (!file) continue;
      const name = file.path.slice(feed.length + 1);
      must(file.path.startsWith(`${feed}/`) && /^[\w-][\w.-]{0,127}$/.test(name), "a file is not one of this feed");
    }
  }
  const last = index.releases.at(-1)!;
  const serials = index.releases.map((release) => release.serial);
  must(serials.every((serial, at) => at === 0 || serial > serials[at - 1]!), "serials do not ascend");
  const isLast = last.serial === index.serial && last.rows === index.rows && last.digest === index.digest;
  must(isLast, "the last release is not the current one");
  return index;
}

/** The ways from what is here to the current release, the cheapest first. */
export function ways(index: Index, have: Base | null, era: number): File[][] {
  const releases = new Map(index.releases.map((release) => [release.serial, release]));
  const found: File[][] = [];
  const add = (start: File[], serial: number) => {
    const files = [...start];
    for (let next = serial + 1; next <= index.serial; next++) {
      const delta = releases.get(next)?.delta;
      if (!delta) return;
      files.push(delta);
    }
    if (serial <= index.serial) found.push(files);
  };
  const offered = have && releases.get(have.serial);
  if (have && (offered ? offered.digest === have.digest : have.era === era)) add([], have.serial);
  for (const { serial, snapshot } of index.releases) if (snapshot) add([snapshot], serial);
  const bytes = (way: File[]) => way.reduce((sum, file) => sum + file.length, 0);
  return found.sort((a, b) => bytes(a) - bytes(b));
}

// Rows

export async function rowsOf(data: Buffer, isDelta: boolean): Promise<Row[]> {
  const file = new Uint8Array(data).buffer;
  const read = await parquetReadObjects({ file, columns: isDelta ? [...COLUMNS, "op"] : COLUMNS, compressors }).catch(
    (error: Error) => { throw new Refusal("malformed", `it cannot be read as Parquet: ${error.message}`); });
  return read.map((cells) => {
    const row = { ...cells } as Record<string, unknown>;
    for (const name of ["number", "last", "entry"]) {
      must(row[name] === null || typeof row[name] === "bigint", `${name} is no integer`);
      row[name] = row[name] === null ? null : Number(row[name]);
    }
    for (const name of ["since", "until"]) {
      must(row[name] === null || row[name] instanceof Date, `${name} is no moment`);
      row[name] = row[name] === null ? null : (row[name] as Date).getTime();
    }
    return row as unknown as Row;
  });
}

export function checkRow(row: Row, lastEntry: number): void {
  must(TEXTS.every((name) => typeof row[name] === "string") && row.since !== null, "a cell is empty");
  must(row.number >= 1 && end(row) >= row.number && end(row) <= 999_999_999_999_999, "a number or a range is not one");
  must(row.entry >= 1 && row.entry <= lastEntry, "an entry id was never given out");
  must(row.since % 1000 === 0 && (row.until ?? 0) % 1000 === 0, "a moment is no whole second");
  must(row.since >= 0 && (row.until === null || row.since < row.until), "an entry ends before it begins");
  const known = row.scope.split("+").filter((scope) => SCOPES.includes(scope));
  must(known.every((scope, at) => at === 0 || known[at - 1]! < scope), "a scope is not in order");
}

export function applied(rows: Map<string, Row>, delta: Row[]): Map<string, Row> {
  const found = new Map(rows);
  for (const { op, ...row } of delta) {
    must(op === "put" || op === "remove", `the op ${op} is not known here`);
    if (op === "put") found.set(key(row), row);
    else must(found.delete(key(row)), "a delta removes a row that is not there");
  }
  return new Map([...found].sort(([, a], [, b]) => order(a, b)));
}
