/** What the tests use of jsdom; its own types would bring more packages than it is worth. */
declare module "jsdom" {
  export class JSDOM {
    constructor(html: string);
    readonly window: Window & typeof globalThis;
  }
}
