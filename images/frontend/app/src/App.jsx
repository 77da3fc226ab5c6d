// The one page: what there is to do, and how the backend is.
import { useEffect, useState } from "react";
import BackendState from "./BackendState.jsx";
import { addItem, listItems, removeItem, setDone } from "./api.js";

export default function App() {
  const [items, setItems] = useState(null);
  const [text, setText] = useState("");
  const [trouble, setTrouble] = useState("");

  // Does something to the list, then shows it as the backend has it.
  async function then(change) {
    try {
      await change?.();
      setItems(await listItems());
      setTrouble("");
    } catch (error) {
      setTrouble(error.message);
    }
  }

  useEffect(() => {
    then();
  }, []);

  function onSubmit(event) {
    event.preventDefault();
    then(async () => {
      await addItem(text);
      setText("");
    });
  }

  return (
    <main>
      <header>
        <h1>Things to do</h1>
        <BackendState onReturn={() => then()} />
      </header>
      <form onSubmit={onSubmit}>
        <input
          aria-label="New thing to do"
          autoFocus
          maxLength="200"
          onChange={(event) => setText(event.target.value)}
          placeholder="What else?"
          required
          value={text}
        />
        <button>Add</button>
      </form>
      {trouble && <p role="alert">{trouble}</p>}
      <Items items={items} onDone={(item) => then(() => setDone(item.id, !item.done))} onRemove={(item) => then(() => removeItem(item.id))} />
      <footer>
        React, Django and a database, each a unit of svinit. Try <code>svctl restart gunicorn</code> while you click.
      </footer>
    </main>
  );
}

function Items({ items, onDone, onRemove }) {
  if (items === null) return <p className="quiet">Looking …</p>;
  if (items.length === 0) return <p className="quiet">Nothing to do. Add something.</p>;
  return (
    <ul>
      {items.map((item) => (
        <li key={item.id} className={item.done ? "done" : ""}>
          <label>
            <input type="checkbox" checked={item.done} onChange={() => onDone(item)} />
            <span>{item.text}</span>
          </label>
          <button type="button" aria-label={`Remove ${item.text}`} onClick={() => onRemove(item)}>
            ×
          </button>
        </li>
      ))}
    </ul>
  );
}
