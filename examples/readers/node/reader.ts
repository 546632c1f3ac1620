// Reads a feed, as docs/reference/protocol.md says: `node reader.js ACTION`, a JSON document in, a JSON document out.
// The actions are those of docs/reference/conformance.md. All of the list is kept in memory and in one file of JSON.
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { Updater } from "tuf-js";
import {
  type Base, type File, type Index, type Row, type State,
  Refusal, applied, checkRow, checkedIndex, digest, end, key, must, order, rowsOf, sha256, ways,
} from "./release.js";

type Sync = { url: string; feed: string; root: string; cache: string; now: string };
const fileOf = (cache: string, feed: string) => `${cache}/${feed}.list.json`;
const stateOf = (cache: string, feed: string): State | null =>
  existsSync(fileOf(cache, feed)) ? JSON.parse(readFileSync(fileOf(cache, feed), "utf8")) : null;

async function sync({ url, feed, root, cache, now }: Sync) {
  mkdirSync(`${cache}/metadata`, { recursive: true });
  if (!existsSync(`${cache}/metadata/root.json`)) copyFileSync(root, `${cache}/metadata/root.json`);
  const updater = new Updater({ metadataDir: `${cache}/metadata`, metadataBaseUrl: `${url}/metadata` });
  const trusted = updater["trustedSet"]; // of tuf-js's insides, for a clock that can be set, and for eras and expiries
  trusted.referenceTime = new Date(now);
  await updater.refresh();

  async function fetched(path: string, most: number, absent = "untrusted"): Promise<Buffer> {
    const target = await updater.getTargetInfo(path);
    must(target, `no role that may sign ${path} signs it`, absent);
    const { length, hashes: { sha256: hash } } = target;
    must(hash && length <= most, `${path} has no SHA-256 hash, or is too long`);
    const at = path.lastIndexOf("/") + 1;
    const stored = `${path.slice(0, at)}${hash}.${path.slice(at)}`;
    const response = await fetch(`${url}/targets/${stored}`, { headers: { "accept-encoding": "identity" } });
    must(response.ok && response.body, `${path}: the server answers ${response.status}`, "unreachable");
    const chunks: Uint8Array[] = [];
    let received = 0;
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      must((received += chunk.length) <= length, `${path} is longer than signed`, "untrusted");
      chunks.push(chunk);
    }
    const data = Buffer.concat(chunks);
    const isSigned = data.length === length && sha256(data).toString("hex") === hash;
    must(isSigned, `${path} is not what was signed`, "untrusted");
    return data;
  }

  async function followed(way: File[], index: Index, local: Row[]): Promise<Row[]> {
    let rows = new Map(local.map((row) => [key(row), row]));
    for (const { path, length } of way) {
      const data = await fetched(path, length);
      must(data.length === length, `index and role say two lengths of ${path}`);
      const isDelta = path.endsWith(".delta.parquet");
      const read = await rowsOf(data, isDelta);
      must(read.every((row, at) => at === 0 || order(read[at - 1]!, row) < 0), `the rows of ${path} are not in order`);
      rows = isDelta ? applied(rows, read) : new Map(read.map((row) => [key(row), row]));
    }
    const found = [...rows.values()];
    for (const row of found) checkRow(row, index.last_entry);
    must(new Set(found.map((row) => row.entry)).size === found.length, "an entry id is there twice");
    const places = new Map(local.map((row) => [row.entry, key(row)]));
    must(found.every((row) => (places.get(row.entry) ?? key(row)) === key(row)), "an entry id has moved");
    must(found.length === index.rows && digest(found) === index.digest, "rows or digest are not those of the index");
    return found;
  }

  async function built(index: Index, state: State | null, era: number): Promise<Row[]> {
    let problem: unknown = new Refusal("malformed", "nothing on offer leads to the current release");
    for (const way of [...ways(index, state, era).slice(0, 1), ...ways(index, null, era)]) {
      try {
        return await followed(way, index, state?.rows ?? []);
      } catch (error) {
        if (!(error instanceof Refusal && error.kind === "malformed")) throw error;
        problem = error; // the way was wrong: another one may be right
      }
    }
    throw problem;
  }

  const state = stateOf(cache, feed);
  const index = checkedIndex(await fetched(`${feed}/index.json`, 1_048_576, state ? "untrusted" : "invalid"), feed);
  const role = trusted.getRole(feed) as typeof trusted.targets;
  must(role && !role.signed.delegations, "the feed's role delegates");
  const era = Number(trusted.targets!.signed.delegations!.roles![feed]!.unrecognizedFields["era"] ?? 1);
  must(Number.isSafeInteger(era) && era >= 1, "the era is no integer");
  if (state) {
    const isEarlier = index.serial < state.serial || Date.parse(index.published_at) < Date.parse(state.published_at);
    const isBack = era < state.era || (era === state.era && isEarlier);
    must(!isBack, `release ${index.serial} of era ${era} is older than the one here`, "untrusted");
    const isSame = era === state.era && index.serial === state.serial;
    must(!isSame || index.digest === state.digest, `release ${index.serial} is another list than before`, "untrusted");
  }
  const guarded = JSON.parse((await fetched("protected.json", 4_194_304)).toString()).numbers as number[];
  const ascend = guarded.every((each, at) => Number.isSafeInteger(each) && (at === 0 || guarded[at - 1]! < each));
  must(ascend, "the protected numbers are not in order");
  const isHere = state && era === state.era && index.serial === state.serial;
  const rows = isHere ? state.rows : await built(index, state, era);
  const roles = [trusted.timestamp!, trusted.snapshot!, trusted.targets!, role];
  const expires = new Date(Math.min(...roles.map((each) => Date.parse(each.signed.expires)))).toISOString();
  const { serial, published_at } = index;
  const next: State = { era, serial, digest: index.digest, published_at, rows, protected: guarded, expires };
  writeFileSync(`${fileOf(cache, feed)}.new`, JSON.stringify(next), { flush: true });
  renameSync(`${fileOf(cache, feed)}.new`, fileOf(cache, feed)); // mark and list change together
  return { serial, digest: index.digest };
}

// Questions

type Question = { number: number; scope: string | null };

function verdict(state: State, now: number, { number, scope }: Question) {
  if (state.protected.includes(number)) return { blocked: false, reason: "protected" };
  // A reader for long lists searches by halves instead of asking every row.
  const covering = state.rows.filter((row) => row.number <= number && number <= end(row));
  const asked = covering.filter((row) => !scope || row.scope.split("+").includes(scope));
  const begun = Math.max(now, Date.parse(state.published_at));
  const ended = (row: Row) => row.until !== null && row.until <= now;
  const standing = asked.filter((row) => row.since <= begun && !ended(row));
  const blocked = standing.some((row) => row.level === "block");
  const otherwise = asked.some(ended) ? "expired" : asked.length ? "not-yet" : "not-listed";
  return { blocked, reason: blocked ? "listed" : standing.length ? "advisory" : otherwise };
}

function check({ feed, cache, now, questions }: { feed: string; cache: string; now: string; questions: Question[] }) {
  const state = stateOf(cache, feed);
  must(state, "nothing was synced yet", "not-synced");
  const answers = questions.map((question) => verdict(state, Date.parse(now), question));
  return { serial: state.serial, stale: Date.parse(now) >= Date.parse(state.expires), answers };
}

function plans(asked: { have: Base | null; era: number; index: Index }[]) {
  return { answers: asked.map(({ have, era, index }) => {
    if (have?.serial === index.serial && have.digest === index.digest) return { files: [] };
    const [way] = ways(index, have, era);
    return way ? { files: way.map((file) => file.path) } : { error: "malformed", message: "nothing leads there" };
  }) };
}

/** The kind of an error; tuf-js wraps its own in errors without a class. */
function kindOf(error: Error): string {
  if (error instanceof Refusal) return error.kind;
  if (/expired/i.test(error.message)) return "stale";
  if (error instanceof TypeError && error.message === "fetch failed") return "unreachable";
  return error instanceof SyntaxError ? "malformed" : "untrusted";
}

async function answer(action: string | undefined, document: any): Promise<object> {
  switch (action) {
    case "sync": return sync(document);
    case "check": return check(document);
    case "digest": return { digest: digest(document.rows) };
    case "plans": return plans(document.plans);
    default: throw new Refusal("not-offered", `this reader does not do ${action}`);
  }
}

answer(process.argv[2], JSON.parse(readFileSync(0, "utf8"))).then(
  (answered) => console.log(JSON.stringify(answered)),
  (error: Error) => {
    console.log(JSON.stringify({ error: kindOf(error), message: error.message }));
    process.exitCode = 1;
  },
);
