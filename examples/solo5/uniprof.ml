(* uniprof for OCaml, e.g. MirageOS on Solo5: externals over stubs.c. *)

(* At the end of each handler of the event loop. An external, not a function: a call of a function that comes last is a jump, and its
   caller would be sampled. *)
external poll : unit -> unit = "uniprof_ml_poll" [@@noalloc]

external idle_enter : unit -> unit = "uniprof_ml_idle_enter" [@@noalloc]
external idle_exit : unit -> unit = "uniprof_ml_idle_exit" [@@noalloc]
external log : string -> unit = "uniprof_ml_log" [@@noalloc]
external crash : string -> 'a = "uniprof_ml_crash" [@@noalloc]
external request : string -> int -> unit = "uniprof_ml_request" [@@noalloc]
external span_begin : bytes -> int -> unit = "uniprof_ml_span_begin" [@@noalloc]
external span_end : bytes -> unit = "uniprof_ml_span_end" [@@noalloc]

(* For [Mirage_runtime.at_enter_iter]: the main loop is about to wait, and what was not polled for until here is shown as this. Its end is
   [Mirage_runtime.at_leave_iter Uniprof.idle_exit]. *)
let end_of_iteration () =
  poll ();
  idle_enter ()

(* [f ()] as a span; its end is told on each way out. *)
let span number f =
  let span = Bytes.create 16 in
  span_begin span number;
  Fun.protect ~finally:(fun () -> span_end span) f

(* An exception that nobody catches is printed, as always, and told of as a crash. *)
let tell_of_uncaught_exceptions () =
  Printexc.set_uncaught_exception_handler (fun exn backtrace ->
      Printexc.default_uncaught_exception_handler exn backtrace;
      crash (Printexc.to_string exn))
