-- The span in which a state update was written, as W3C Trace Context writes it; null: nobody took traces.
alter table updates add column traceparent text;
