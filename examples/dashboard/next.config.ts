import type { NextConfig } from "next";

/** A static export: any web server hands it out, and a notifiws node does so at `/`. */
const config: NextConfig = {
  output: "export",
  trailingSlash: true,
  reactStrictMode: true,
  images: { unoptimized: true },
  turbopack: { root: import.meta.dirname },
};

export default config;
