export { Paygrade, type Options, type Question, type State, type Status } from "./client.js";
export type { Answer, Decision, Known, OnError, Reason, Source } from "./decision.js";
export { PaygradeError, type Fetch, type GetToken } from "./transport.js";
