/* Interrupts and exceptions. What lies on the stack when `trap` is called is `struct frame`; what `trap` returns is the frame to go on
 * with, which may be another thread's: that is how threads are switched.
 *
 * Unwinding from here leads into the interrupted code at exactly the interrupted instruction (.cfi_signal_frame). */

    .macro save register
    pushq %\register
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset \register, 0
    .endm

    .macro restore register
    popq %\register
    .cfi_adjust_cfa_offset -8
    .cfi_restore \register
    .endm

    /* Where the processor has pushed ss, rsp, rflags, cs and rip, and then `more` bytes lie on the stack. */
    .macro begin_interrupted more
    .cfi_startproc simple
    .cfi_signal_frame
    .cfi_def_cfa rsp, 40 + \more
    .cfi_offset rip, -40
    .cfi_offset rsp, -16
    .endm

    .text
    .balign 16
    .globl trap_stubs
    .type trap_stubs, @function
trap_stubs:                             /* 16 bytes each, vectors 0 to 47 */
    begin_interrupted 0
    .set vector, 0
    .rept 48
    .balign 16
    .cfi_def_cfa_offset 40
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
    pushq $0
    .endif
    .cfi_def_cfa_offset 48              /* an error code, or the 0 in its place */
    pushq $vector
    .cfi_def_cfa_offset 56
    jmp trap_common
    .set vector, vector + 1
    .endr
    .cfi_endproc
    .size trap_stubs, . - trap_stubs

    .type trap_common, @function
trap_common:
    begin_interrupted 16
    .irp register, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    save \register
    .endr
    cld
    movq %rsp, %rdi
    call trap
    movq %rax, %rsp
    .irp register, r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax
    restore \register
    .endr
    addq $16, %rsp
    .cfi_adjust_cfa_offset -16
    iretq
    .cfi_endproc
    .size trap_common, . - trap_common

    .section .note.GNU-stack, "", @progbits
