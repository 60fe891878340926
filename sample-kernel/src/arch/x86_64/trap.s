# Interrupt entry. Every gate has an IST stack, so nothing here can touch the red zone of the interrupted code.
# Each stub is at most 16 bytes long and 16 apart: stub of vector v = table + 16 v.
# What the stubs leave in memory, upward from rsp, is `TrapFrame` in trap.rs.
#
# Unwinding from here leads into the interrupted code at exactly the interrupted instruction (.cfi_signal_frame). The canonical frame
# address is the end of what the processor pushed, which is another stack's: rsp has a rule like every other register.

.macro save register
    push \register
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset \register, 0
.endm

.macro restore register
    pop \register
    .cfi_adjust_cfa_offset -8
    .cfi_restore \register
.endm

.macro save_registers
    save rax
    save rcx
    save rdx
    save rbx
    save rbp
    save rsi
    save rdi
    save r8
    save r9
    save r10
    save r11
    save r12
    save r13
    save r14
    save r15
.endm

.macro restore_registers
    restore r15
    restore r14
    restore r13
    restore r12
    restore r11
    restore r10
    restore r9
    restore r8
    restore rdi
    restore rsi
    restore rbp
    restore rbx
    restore rdx
    restore rcx
    restore rax
    add rsp, 16
    .cfi_adjust_cfa_offset -16
.endm

# Where the processor has pushed ss, rsp, rflags, cs and rip, and then `more` bytes lie on the stack.
.macro begin_interrupted more
    .cfi_startproc simple
    .cfi_signal_frame
    .cfi_def_cfa rsp, 40 + \more
    .cfi_offset rip, -40
    .cfi_offset rsp, -16
.endm

.section .text.trap, "ax", @progbits

.balign 16
.global exception_stubs
.type exception_stubs, @function
exception_stubs:
    begin_interrupted 0
.irp vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    .balign 16
    .if !(\vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21 || \vector == 29 || \vector == 30)
    .cfi_def_cfa_offset 40
    push 0
    .endif
    .cfi_def_cfa_offset 48          # an error code, or the 0 in its place
    push \vector
    .cfi_def_cfa_offset 56
    jmp exception_common
.endr
    .cfi_endproc
.size exception_stubs, . - exception_stubs

.type exception_common, @function
exception_common:
    begin_interrupted 16
    save_registers
    cld
    mov rdi, rsp
    call {exception}
    ud2
    .cfi_endproc
.size exception_common, . - exception_common

.balign 16
.global interrupt_stubs
.type interrupt_stubs, @function
interrupt_stubs:
    begin_interrupted 0
.irp vector, 0x20,0x21,0x22,0x23,0x24
    .balign 16
    .cfi_def_cfa_offset 40
    push 0
    .cfi_def_cfa_offset 48
    push \vector
    .cfi_def_cfa_offset 56
    jmp interrupt_common
.endr
    .cfi_endproc
.size interrupt_stubs, . - interrupt_stubs

.type interrupt_common, @function
interrupt_common:
    begin_interrupted 16
    save_registers
    sub rsp, 512
    .cfi_adjust_cfa_offset 512
    fxsave64 [rsp]
    cld
    lea rdi, [rsp + 512]
    call {interrupt}
    test al, al
    jnz 2f
    .cfi_remember_state
    fxrstor64 [rsp]
    add rsp, 512
    .cfi_adjust_cfa_offset -512
    restore_registers
    iretq
    .cfi_restore_state

    # A switch of threads: this stack is the vCPU's, so what was saved moves to the thread's own stack, below its red zone.
    # rbx has been saved, and keeps the place of the frame until all of it has been moved.
2:  mov rbx, rsp
    .cfi_def_cfa rbx, {moved}       # said in full: LLVM's assembler adjusts from where it stood before .cfi_restore_state
    mov rsi, rsp
    mov rdi, [rsp + {frame_rsp}]
    sub rdi, {moved} + 128
    and rdi, -16
    mov rsp, rdi
    mov ecx, {moved} / 8
    rep movsq
    .cfi_def_cfa_register rsp
    # A frame record, so that a walk of the waiting thread's frame pointers passes through the interrupted function.
    push qword ptr [rsp + {frame_rip}]
    .cfi_adjust_cfa_offset 8
    push rbp
    .cfi_adjust_cfa_offset 8
    mov rbp, rsp
    call {preempt}
    add rsp, 16
    .cfi_adjust_cfa_offset -16
    fxrstor64 [rsp]
    add rsp, 512
    .cfi_adjust_cfa_offset -512
    restore_registers
    iretq
    .cfi_endproc
.size interrupt_common, . - interrupt_common

# switch_context(rdi: where to leave the stack pointer, rsi: stack pointer to go on with)
# Both stacks have the same frame here, so the rules hold for whichever rsp points to. A stack that waits, its pointer at the saved r15, is
# unwound from where it goes on, which switch_context_resumes_at holds: a symbol of its own inside the function would split that in two.
.global switch_context
.type switch_context, @function
switch_context:
    .cfi_startproc
    save rbp
    mov rbp, rsp
    save rbx
    save r12
    save r13
    save r14
    save r15
    mov [rdi], rsp
    mov rsp, rsi
.Lswitch_context_resumes:
    restore r15
    restore r14
    restore r13
    restore r12
    restore rbx
    restore rbp
    ret
    .cfi_endproc
.size switch_context, . - switch_context

.pushsection .rodata.switch_context, "a", @progbits
.balign 8
.global switch_context_resumes_at
switch_context_resumes_at:
    .quad .Lswitch_context_resumes
.size switch_context_resumes_at, 8
.popsection
