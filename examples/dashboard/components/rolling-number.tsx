/** A number whose digits roll to their new value. Ears hear the plain text; eyes see one reel a digit. */
import type { CSSProperties } from "react";
import styles from "./rolling-number.module.css";

const DIGITS = Array.from({ length: 10 }, (_, digit) => digit);

export function RollingNumber({ text }: { text: string }) {
  const characters = [...text];
  return (
    <>
      <span className="spoken">{text}</span>
      <span className={styles.reels} aria-hidden="true">
        {characters.map((character, index) => {
          // Counted from the right, so that units stay units when a digit is added in front.
          const place = characters.length - index;
          return /\d/.test(character) ? (
            <span key={`d${place}`} className={styles.reel}>
              <span className={styles.strip} style={{ "--digit": Number(character) } as CSSProperties}>
                {DIGITS.map((digit) => (
                  <span key={digit}>{digit}</span>
                ))}
              </span>
            </span>
          ) : (
            <span key={`c${place}`} className={styles.sign}>
              {character}
            </span>
          );
        })}
      </span>
    </>
  );
}
