// Everything here makes a page that already works quicker to use. Nothing is read or sent only by this file.

const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];

/** <pg-theme> around the form that asks for other colours: shows them at once; the server keeps them in a cookie. */
class Theme extends HTMLElement {
  connectedCallback() {
    const form = $("form", this);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const root = document.documentElement;
      const theme = form.elements.theme.value;
      fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual" });
      theme ? (root.dataset.theme = theme) : delete root.dataset.theme;
      form.elements.theme.value = { "": "light", light: "dark", dark: "" }[theme];
      $("button", this).setAttribute("aria-label", `Colours: ${theme || "as the system"}`);
    });
  }
}

/** <pg-copy> around a button with data-text, or beside a <pre>: copies, and says so. */
class Copy extends HTMLElement {
  connectedCallback() {
    this.hidden = !navigator.clipboard;
    this.addEventListener("click", async () => {
      const pre = $("pre", this.closest("details, section, div"));
      await navigator.clipboard.writeText($("button", this).dataset.text ?? pre.innerText);
      toast("Copied");
    });
  }
}

/** <pg-rows> around a table: j and k walk its rows, Enter opens the first link of one. */
class Rows extends HTMLElement {
  connectedCallback() {
    document.addEventListener("keydown", (event) => {
      if (typing(event) || !"jk".includes(event.key)) return;
      const links = $$("tbody tr", this).map((row) => $("a", row)).filter(Boolean);
      const now = links.indexOf(document.activeElement);
      links[Math.max(0, Math.min(links.length - 1, now + (event.key === "j" ? 1 : -1)))]?.focus();
    });
  }
}

/** <pg-seats max="5"> around checkboxes: counts, and keeps one from choosing more than there are. */
class Seats extends HTMLElement {
  connectedCallback() {
    const max = Number(this.getAttribute("max"));
    const boxes = $$("input[type=checkbox]", this);
    const count = () => {
      const chosen = boxes.filter((box) => box.checked).length;
      for (const box of boxes) box.disabled = !box.checked && chosen >= max;
      $("output", this).textContent = `${chosen} of ${max} chosen`;
    };
    this.addEventListener("change", count);
    count();
  }
}

/** <pg-live src="…"> around a <progress>: follows server-sent events; at the end the page is read again. */
class Live extends HTMLElement {
  connectedCallback() {
    const bar = $("progress", this);
    const words = $("[data-done]", this);
    const step = (done) => {
      bar.value = done;
      if (words) words.textContent = done.toLocaleString("en");
    };
    this.feed = new EventSource(this.getAttribute("src"));
    this.feed.onmessage = (event) => step(Number(event.data));
    this.feed.addEventListener("done", () => location.reload());
  }
  disconnectedCallback() {
    this.feed?.close();
  }
}

/** <pg-tail src="…"> before a table: rows that come are put on top, as texts. */
class Tail extends HTMLElement {
  connectedCallback() {
    const rows = $("tbody", this.parentElement);
    const says = $("[data-live]", this);
    this.feed = new EventSource(this.getAttribute("src"));
    this.feed.onopen = () => (says.textContent = "What comes is shown as it comes.");
    this.feed.onerror = () => (says.textContent = "The connection is gone; trying again.");
    this.feed.addEventListener("row", (event) => this.show(rows, JSON.parse(event.data)));
  }
  show(rows, its) {
    const row = document.createElement("tr");
    const put = (tag, text, into = row) => into.appendChild(Object.assign(document.createElement(tag), { textContent: text }));
    const head = put("th", its.href ? "" : its.head);
    head.scope = "row";
    if (its.href) put("a", its.head, head).href = its.href;
    put("span", its.sub, head).className = "sub";
    put("td", its.account);
    const more = put("details", "", put("td", ""));
    put("summary", "Just now", more).className = "turn";
    const data = put("pre", its.data, more);
    data.tabIndex = 0;
    data.setAttribute("aria-label", "Data");
    const when = put("time", its.at.slice(11, 19), put("td", ""));
    when.dateTime = its.at;
    row.lastChild.className = "num";
    rows.prepend(row);
    while (rows.rows.length > 200) rows.lastElementChild.remove();
  }
  disconnectedCallback() {
    this.feed?.close();
  }
}

customElements.define("pg-tail", Tail);
customElements.define("pg-theme", Theme);
customElements.define("pg-copy", Copy);
customElements.define("pg-rows", Rows);
customElements.define("pg-seats", Seats);
customElements.define("pg-live", Live);

/** Say something that needs no answer. Errors are never toasts: they stand where they happened. */
export function toast(text) {
  const box = $(".toasts") ?? document.body.appendChild(Object.assign(document.createElement("div"), { className: "toasts" }));
  box.setAttribute("role", "status");
  const item = Object.assign(document.createElement("div"), { className: "toast", textContent: text });
  box.append(item);
  setTimeout(() => item.remove(), 4000);
}

// Keys: / searches, ? lists the keys, g and then a place's own key goes there.
const typing = (event) => event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog[open]");
let went = 0;
document.addEventListener("keydown", (event) => {
  if (typing(event)) return;
  if (event.key === "/") {
    event.preventDefault();
    $("input[type=search]")?.focus();
  } else if (event.key === "?") $("#keys")?.showModal();
  else if (event.key === "g") went = Date.now();
  else if (Date.now() - went < 1200) $$(".nav [data-key]").find((place) => place.dataset.key === event.key)?.click();
});

// A link to a dialog opens it as a modal one; without this file the same link shows it by :target.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  const dialog = link && document.getElementById(link.hash.slice(1));
  if (dialog instanceof HTMLDialogElement) {
    event.preventDefault();
    dialog.showModal();
  } else if (link && event.target.closest("dialog")) {
    event.preventDefault();
    link.closest("dialog").close();
  }
});

// A form that changes something is sent once, and says so.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
  setTimeout(() => event.submitter?.setAttribute("aria-busy", "true"), 300);
});
addEventListener("pageshow", () => {
  for (const form of $$("form[data-sent]")) delete form.dataset.sent;
  for (const busy of $$("[aria-busy=true]")) busy.removeAttribute("aria-busy");
});

// The tab of the section that is being read.
const tabs = $$(".tabs a");
if (tabs.length) {
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries)
        if (entry.isIntersecting)
          for (const tab of tabs) tab.hash === `#${entry.target.id}` ? tab.setAttribute("aria-current", "true") : tab.removeAttribute("aria-current");
    },
    { rootMargin: "-20% 0px -70%" },
  );
  for (const tab of tabs) seen.observe($(tab.hash));
}
