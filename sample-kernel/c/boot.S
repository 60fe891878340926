/* PVH entry (https://xenbits.xen.org/docs/unstable/misc/pvh.html): 32-bit protected mode, paging off, ebx = start_info.
 *
 * SSE and x87 stay off, so that any use of them is an exception: the probes use none. */

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18                      /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad pvh_start                     /* QEMU reads eight bytes from a 64-bit ELF */

    .section .text.boot, "ax", @progbits
    .code32
    .globl pvh_start
    .type pvh_start, @function
pvh_start:
    cli
    cld
    movl $page_directory_pointers + 3, page_map
    /* One page directory: 1 GiB, identity, 2 MiB pages. */
    movl $page_directory + 3, page_directory_pointers
    movl $page_directory, %edi
    movl $0x83, %eax
    movl $512, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    decl %ecx
    jnz 1b
    /* The first 2 MiB in 4 KiB pages: page 0 goes later, so that null pointers fault. */
    movl $page_table, %edi
    movl $3, %eax
    movl $512, %ecx
2:  movl %eax, (%edi)
    addl $0x1000, %eax
    addl $8, %edi
    decl %ecx
    jnz 2b
    movl $page_table + 3, page_directory

    movl $page_map, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax                     /* PAE; not OSFXSR */
    movl %eax, %cr4
    movl $0xc0000080, %ecx              /* EFER */
    rdmsr
    orl $0x100, %eax                    /* LME */
    wrmsr
    movl %cr0, %eax
    orl $0x80010005, %eax               /* PG, WP, EM, PE */
    movl %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $long_start
    .size pvh_start, . - pvh_start

    .code64
    .type long_start, @function
long_start:
    .cfi_startproc
    .cfi_undefined rip                  /* nobody called */
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $boot_stack_high, %esp
    movl %ebx, %edi
    xorl %ebp, %ebp
    pushq $0                            /* the root of the stack: a return address of 0 */
    jmp kernel_main
    .cfi_endproc
    .size long_start, . - long_start

    .section .rodata.boot, "a", @progbits
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff            /* 0x08: 64-bit code */
    .quad 0x00cf93000000ffff            /* 0x10: data */
gdt_pointer:
    .word . - gdt - 1
    .long gdt, 0

    .section .bss.boot, "aw", @nobits
    .balign 0x1000
page_map: .skip 0x1000
page_directory_pointers: .skip 0x1000
page_directory: .skip 0x1000
    .globl page_table
page_table: .skip 0x1000
    .globl boot_stack, boot_stack_high
boot_stack: .skip 0x4000
boot_stack_high:

    .section .note.GNU-stack, "", @progbits
