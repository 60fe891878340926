# Interrupt entry. Every gate has an IST stack, so nothing here can touch the red zone of the interrupted code.
# Each stub is at most 16 bytes long and 16 apart: stub of vector v = table + 16 v.
# What the stubs leave in memory, upward from rsp, is `TrapFrame` in trap.rs.

.macro save_registers
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
.endm

.macro restore_registers
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
.endm

.section .text.trap, "ax", @progbits

.balign 16
.global exception_stubs
.type exception_stubs, @function
exception_stubs:
.irp vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    .balign 16
    .if !(\vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21 || \vector == 29 || \vector == 30)
    push 0
    .endif
    push \vector
    jmp exception_common
.endr
.size exception_stubs, . - exception_stubs

.type exception_common, @function
exception_common:
    save_registers
    cld
    mov rdi, rsp
    call {exception}
    ud2
.size exception_common, . - exception_common

.balign 16
.global interrupt_stubs
.type interrupt_stubs, @function
interrupt_stubs:
.irp vector, 0x20,0x21,0x22,0x23
    .balign 16
    push 0
    push \vector
    jmp interrupt_common
.endr
.size interrupt_stubs, . - interrupt_stubs

.type interrupt_common, @function
interrupt_common:
    save_registers
    sub rsp, 512
    fxsave64 [rsp]
    cld
    lea rdi, [rsp + 512]
    call {interrupt}
    test al, al
    jnz 2f
    fxrstor64 [rsp]
    add rsp, 512
    restore_registers
    iretq

    # A switch of threads: this stack is the vCPU's, so what was saved moves to the thread's own stack, below its red zone.
2:  mov rsi, rsp
    mov rdi, [rsp + {frame_rsp}]
    sub rdi, {moved} + 128
    and rdi, -16
    mov rsp, rdi
    mov ecx, {moved} / 8
    rep movsq
    # A frame record, so that a walk of the waiting thread's frame pointers passes through the interrupted function.
    push qword ptr [rsp + {frame_rip}]
    push rbp
    mov rbp, rsp
    call {preempt}
    add rsp, 16
    fxrstor64 [rsp]
    add rsp, 512
    restore_registers
    iretq
.size interrupt_common, . - interrupt_common

# switch_context(rdi: where to leave the stack pointer, rsi: stack pointer to go on with)
.global switch_context
.type switch_context, @function
switch_context:
    .cfi_startproc
    push rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    mov rbp, rsp
    .cfi_def_cfa_register rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    mov [rdi], rsp
    mov rsp, rsi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    .cfi_def_cfa rsp, 8
    ret
    .cfi_endproc
.size switch_context, . - switch_context
