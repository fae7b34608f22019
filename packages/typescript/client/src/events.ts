/**
 * Server-sent events, read from text: no socket, no clock (WHATWG HTML, 9.2.6).
 *
 * Laws: how the text is cut into pieces changes nothing; what is not an event is left out; what is buffered has a bound.
 */

const BUFFER_MAX = 16 * 1024 * 1024;

export interface StreamEvent {
  name: string;
  data: string;
}

export class EventReader {
  /** Where to go on after what was read: the id last given. */
  id: string | undefined;
  /** How long to wait before connecting again, as the server asks. */
  retryMs: number | undefined;
  #rest = "";
  #name = "message";
  #data = "";

  /** The events that are complete by now. Throws where a line or an event has no end. */
  read(more: string): StreamEvent[] {
    const found: StreamEvent[] = [];
    let from = this.#rest.length;
    this.#rest += more;
    let begin = 0;
    for (let end: number; (end = this.#rest.indexOf("\n", from)) >= 0; begin = from = end + 1) {
      const line = this.#rest.slice(begin, end);
      const event = this.#line(line.endsWith("\r") ? line.slice(0, -1) : line);
      if (event !== undefined) found.push(event);
    }
    this.#rest = this.#rest.slice(begin);
    if (this.#rest.length + this.#data.length > BUFFER_MAX) throw new Error("an event of the stream has no end");
    return found;
  }

  #line(line: string): StreamEvent | undefined {
    if (line === "") {
      const [name, data] = [this.#name, this.#data];
      [this.#name, this.#data] = ["message", ""];
      return data === "" ? undefined : { name, data: data.slice(0, -1) };
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data += `${value}\n`;
    else if (field === "id" && !value.includes("\0")) this.id = value;
    else if (field === "retry" && /^\d{1,9}$/.test(value)) this.retryMs = Number(value);
    return undefined;
  }
}
