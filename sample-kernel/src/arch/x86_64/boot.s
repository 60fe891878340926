# PVH entry (https://xenbits.xen.org/docs/unstable/misc/pvh.html): 32-bit protected mode, paging off, ebx = start_info.

.section .note.Xen, "a", @note
.balign 4
.long 4
.long 8
.long 18                            # XEN_ELFNOTE_PHYS32_ENTRY
.asciz "Xen"
.quad pvh_start                     # QEMU reads eight bytes from a 64-bit ELF

.section .text.boot, "ax", @progbits
.code32
.global pvh_start
.type pvh_start, @function
pvh_start:
    cli
    cld
    mov eax, offset boot_page_directory_pointers
    or eax, 3
    mov [boot_page_map], eax

    # Four page directories: 4 GiB, identity, 2 MiB pages.
    mov eax, offset boot_page_directories
    or eax, 3
    mov edi, offset boot_page_directory_pointers
    mov ecx, 4
2:  mov [edi], eax
    add eax, 0x1000
    add edi, 8
    dec ecx
    jnz 2b
    mov edi, offset boot_page_directories
    mov eax, 0x83
    mov ecx, 2048
3:  mov [edi], eax
    add eax, 0x200000
    add edi, 8
    dec ecx
    jnz 3b

    # The first 2 MiB in 4 KiB pages: page 0 goes as soon as the loader's data in it have been read.
    mov edi, offset boot_page_table
    mov eax, 3
    mov ecx, 512
4:  mov [edi], eax
    add eax, 0x1000
    add edi, 8
    dec ecx
    jnz 4b
    mov eax, offset boot_page_table
    or eax, 3
    mov [boot_page_directories], eax

    mov eax, offset boot_page_map
    mov cr3, eax
    mov eax, cr4
    or eax, 0x620                   # PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov ecx, 0xc0000080             # EFER
    rdmsr
    or eax, 0x100                   # LME
    wrmsr
    mov eax, cr0
    and eax, 0xfffffff3             # EM, TS off: SSE works
    or eax, 0x80010023              # PG, WP, NE, MP, PE
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    mov esp, offset boot_stack_top
    push 8
    mov eax, offset long_start
    push eax
    retf
.size pvh_start, . - pvh_start

.code64
.type long_start, @function
long_start:
    .cfi_startproc
    .cfi_undefined rip              # nobody called
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov esp, offset boot_stack_top
    mov edi, ebx
    xor ebp, ebp
    push 0                          # the root of the stack: a return address of 0
    jmp kernel_entry
    .cfi_endproc
.size long_start, . - long_start

.section .rodata.boot, "a", @progbits
.balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff        # 0x08: 64-bit code
    .quad 0x00cf93000000ffff        # 0x10: data
boot_gdt_end:
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt
    .long 0

.section .bss.boot, "aw", @nobits
.balign 0x1000
.global boot_page_map
boot_page_map:
    .skip 0x1000
.global boot_page_directory_pointers
boot_page_directory_pointers:
    .skip 0x1000
boot_page_directories:
    .skip 0x4000
.global boot_page_table
boot_page_table:
    .skip 0x1000
.global boot_stack
boot_stack:
    .skip 0x10000
.global boot_stack_top
boot_stack_top:
