(* uniprof for OCaml, e.g. MirageOS on Solo5: externals over stubs.c. *)

external poll : unit -> unit = "uniprof_ml_poll" [@@noalloc]
external idle_enter : unit -> unit = "uniprof_ml_idle_enter" [@@noalloc]
external idle_exit : unit -> unit = "uniprof_ml_idle_exit" [@@noalloc]
external log : string -> unit = "uniprof_ml_log" [@@noalloc]
external request : string -> int -> unit = "uniprof_ml_request" [@@noalloc]
external span_begin : bytes -> int -> unit = "uniprof_ml_span_begin" [@@noalloc]
external span_end : bytes -> unit = "uniprof_ml_span_end" [@@noalloc]

(* [f ()] as a span; its end is told on each way out. *)
let span number f =
  let span = Bytes.create 16 in
  span_begin span number;
  Fun.protect ~finally:(fun () -> span_end span) f
