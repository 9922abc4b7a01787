// The buffer of a live tail. While the reader is elsewhere than at the top, or has said pause,
// arriving rows wait: what is being read never moves. Rows are newest first; memory is bounded.

export class LiveBuffer<T extends { id: string }> {
  /** What is shown, newest first. */
  rows: T[] = [];
  /** What waits, newest first. */
  waiting: T[] = [];
  /** How many waiting rows were dropped because nobody took them. */
  dropped = 0;
  held = false;
  #known = new Set<string>();

  constructor(readonly rowsMax = 50_000) {}

  /** Begins anew with the answer of a search. */
  reset(rows: T[]): void {
    this.rows = rows.slice(0, this.rowsMax);
    this.waiting = [];
    this.dropped = 0;
    this.#known = new Set(this.rows.map((r) => r.id));
  }

  /** Older rows, as the reader comes to the end. */
  extend(older: T[]): void {
    const fresh = older.filter((r) => !this.#known.has(r.id));
    for (const row of fresh) this.#known.add(row.id);
    this.rows = this.rows.concat(fresh).slice(0, this.rowsMax);
  }

  /** Rows as they arrive, oldest first. A row that is known already (a reconnect) is left out. */
  push(arrived: T[]): void {
    const fresh = arrived.filter((r) => !this.#known.has(r.id));
    if (fresh.length === 0) return;
    for (const row of fresh) this.#known.add(row.id);
    this.waiting = fresh.reverse().concat(this.waiting);
    if (this.waiting.length > this.rowsMax) {
      for (const gone of this.waiting.slice(this.rowsMax)) {
        this.#known.delete(gone.id);
        this.dropped += 1;
      }
      this.waiting = this.waiting.slice(0, this.rowsMax);
    }
    if (!this.held) this.release();
  }

  /** Shows what waits. */
  release(): void {
    if (this.waiting.length === 0) return;
    const all = this.waiting.concat(this.rows);
    for (const gone of all.slice(this.rowsMax)) this.#known.delete(gone.id);
    this.rows = all.slice(0, this.rowsMax);
    this.waiting = [];
    this.dropped = 0;
  }
}
