import { texts } from "../lib/texts.ts";

export default function NotFound() {
  return (
    <main className="notFound">
      <h1>{texts.notFound.title}</h1>
      {/* A plain link: the export has no server that could answer a client-side navigation after a 404. */}
      <a href="/">{texts.notFound.back}</a>
    </main>
  );
}
