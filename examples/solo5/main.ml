(* The unikernel of docs/porting.md: a loop of handlers with known shares, and waits now and then. *)

external wait : int -> unit = "unikernel_wait" [@@noalloc]

module Index = Map.Make (String)

let sink = ref 1
let index = ref Index.empty

let[@inline never] work units =
  for i = 1 to units * 100_000 do
    sink := !sink lxor (!sink lsl 13) + i
  done

let[@inline never] handle_read number =
  Uniprof.span number (fun () -> work 1);
  Uniprof.poll ()

let[@inline never] handle_write number =
  Uniprof.span number (fun () -> work 3);
  Uniprof.request "/write" number;
  Uniprof.poll ()

(* Makes work for the collector: keys of which the last 4,096 are kept. *)
let[@inline never] handle_index number =
  Uniprof.span number (fun () ->
      for key = number * 64 to (number * 64) + 63 do
        let name = "key " ^ string_of_int (key land 4095) in
        index := Index.add name (String.make 64 'x') !index
      done);
  Uniprof.poll ()

let serve number =
  for _ = 1 to 5 do handle_read number done;
  handle_write number;
  handle_index number;
  if number mod 10 = 0 then begin
    Uniprof.idle_enter ();
    wait 5;
    Uniprof.idle_exit ()
  end;
  if number mod 1_000 = 0 then Uniprof.log (Printf.sprintf "%d rounds, %d keys" number (Index.cardinal !index))

let rec rounds number =
  serve number;
  rounds (number + 1)

let () =
  Uniprof.tell_of_uncaught_exceptions ();
  Printexc.record_backtrace true;
  print_endline ("OCaml " ^ Sys.ocaml_version);
  rounds 1
