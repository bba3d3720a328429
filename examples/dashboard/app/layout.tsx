import type { Metadata, Viewport } from "next";
import { GeistSans } from "geist/font/sans";
import type { ReactNode } from "react";
import { texts } from "../lib/texts.ts";
import "./globals.css";

export const metadata: Metadata = {
  title: `${texts.title} · notifiws`,
  description: texts.tagline,
};

export const viewport: Viewport = {
  colorScheme: "light dark",
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#f4f5f2" },
    { media: "(prefers-color-scheme: dark)", color: "#0c1210" },
  ],
};

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="es" className={GeistSans.variable}>
      <body>
        {children}
        <noscript>
          <p className="noscript">{texts.noScript}</p>
        </noscript>
      </body>
    </html>
  );
}
