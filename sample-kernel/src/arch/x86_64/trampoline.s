# Where a vCPU starts after a start-up IPI: real mode, at a page below 1 MiB that this code is copied to.

.section .rodata.trampoline, "a", @progbits
.code16
.global ap_trampoline
ap_trampoline:
    jmp 2f
.balign 8
    .word 23                        # at 8: limit and address of the boot descriptor table
    .long boot_gdt
2:  cli
    cld
    xor ax, ax
    mov ds, ax
    .byte 0x66                      # all 32 bits of the table's address
    lgdt [{page} + 8]
    mov eax, offset boot_page_map
    mov cr3, eax
    mov eax, 0x620                  # PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov ecx, 0xc0000080             # EFER
    rdmsr
    or eax, 0x100                   # LME
    wrmsr
    mov eax, 0x80010033             # PG, WP, NE, ET, MP, PE; caches on
    mov cr0, eax
    .byte 0x66, 0xea                # ljmp 8:ap_long_start
    .long ap_long_start
    .word 8
.global ap_trampoline_end
ap_trampoline_end:

.section .text.boot, "ax", @progbits
.code64
.type ap_long_start, @function
ap_long_start:
    .cfi_startproc
    .cfi_undefined rip              # nobody called
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov rsp, [{stack}]
    xor ebp, ebp
    push 0                          # the root of the stack: a return address of 0
    jmp ap_entry
    .cfi_endproc
.size ap_long_start, . - ap_long_start
