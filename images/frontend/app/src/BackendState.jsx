// A dot and a word: how the backend is, asked for again and again.
import { useEffect, useRef, useState } from "react";
import { backendState } from "./api.js";

// Between two questions.
const INTERVAL = 2_000;

const WORDS = {
  unknown: "asking the backend …",
  pass: "backend and database answer",
  fail: "the backend misses its database",
  away: "the backend does not answer",
};

export default function BackendState({ onReturn }) {
  const [state, setState] = useState("unknown");
  const before = useRef("unknown");

  useEffect(() => {
    let over = false;
    let timer;
    async function look() {
      const now = await backendState();
      if (over) return;
      if (now === "pass" && (before.current === "fail" || before.current === "away")) onReturn();
      before.current = now;
      setState(now in WORDS ? now : "away");
      timer = setTimeout(look, INTERVAL);
    }
    look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, []);

  return (
    <p className={`state ${state}`} role="status">
      {WORDS[state]}
    </p>
  );
}
