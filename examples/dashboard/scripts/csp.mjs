// After `next build`: gives every exported page a Content-Security-Policy that names its inline scripts by hash, so
// that the page is strict by itself, whoever serves it. (frame-ancestors works in a header only: that is the server's.)
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

const OUT = new URL("../out/", import.meta.url).pathname;
const INLINE = /<script(?![^>]*\ssrc=)[^>]*>([\s\S]*?)<\/script>/g;

const configured = process.env.NEXT_PUBLIC_NOTIFIWS_URL;
// 'self' covers the page's own ws: and wss: addresses in current browsers.
const connect = configured ? `'self' ${new URL(configured.replace(/^http/, "ws")).origin}` : "'self'";

for (const name of await readdir(OUT, { recursive: true })) {
  if (!name.endsWith(".html")) continue;
  const file = join(OUT, name);
  const html = await readFile(file, "utf8");
  const hashes = [...html.matchAll(INLINE)].map(
    ([, code]) => `'sha256-${createHash("sha256").update(code).digest("base64")}'`,
  );
  const policy = [
    "default-src 'none'",
    `script-src 'self' ${[...new Set(hashes)].join(" ")}`.trim(),
    "style-src 'self'",
    "font-src 'self'",
    "img-src 'self'",
    `connect-src ${connect}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  // Before every script, after the charset, which has to be among the first 1,024 bytes.
  const place = '<head><meta charSet="utf-8"/>';
  const parts = html.split("<head>");
  if (parts.length !== 2) throw new Error(`${name}: no single <head> to put the policy into`);
  const rest = parts[1].replace('<meta charSet="utf-8"/>', "");
  await writeFile(file, `${parts[0]}${place}<meta http-equiv="Content-Security-Policy" content="${policy}"/>${rest}`);
}
