// LD_PRELOAD: programs see a processor without AVX-512, AMX, AVX-VNNI and their kin, so that every library of a process
// takes its AVX2 code. Linux lets a process make CPUID fault (arch_prctl, where /proc/cpuinfo has cpuid_fault); the handler
// answers in its place. Threads and forks inherit it, exec and static constructors before this one do not.
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { SET_CPUID = 0x1012, FEATURES = 7, OPCODE_LENGTH = 2 };

// Bits of leaf 7, subleaf 0 and 1, that stay away.
static const unsigned EBX_0 = 1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31;
static const unsigned ECX_0 = 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14;
static const unsigned EDX_0 = 1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25;
static const unsigned EAX_1 = 1u << 4 | 1u << 5 | 1u << 21 | 1u << 23;  // AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA
static const unsigned EDX_1 = 1u << 4 | 1u << 5 | 1u << 10 | 1u << 19;  // AVX-VNNI-INT8, AVX-NE-CONVERT, AVX-VNNI-INT16, AVX10

static long let_cpuid(int whether) { return syscall(SYS_arch_prctl, SET_CPUID, whether); }

static void answer(int number, siginfo_t* info, void* context) {
    (void)info;
    greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
    const unsigned char* at = (const unsigned char*)registers[REG_RIP];
    if (at[0] != 0x0F || at[1] != 0xA2) {  // a fault of its own
        signal(number, SIG_DFL);
        return;
    }
    const unsigned leaf = (unsigned)registers[REG_RAX], subleaf = (unsigned)registers[REG_RCX];
    unsigned a, b, c, d;
    let_cpuid(1);
    __cpuid_count(leaf, subleaf, a, b, c, d);
    let_cpuid(0);
    if (leaf == FEATURES && subleaf == 0) {
        b &= ~EBX_0;
        c &= ~ECX_0;
        d &= ~EDX_0;
    } else if (leaf == FEATURES && subleaf == 1) {
        a &= ~EAX_1;
        d &= ~EDX_1;
    }
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += OPCODE_LENGTH;
}

__attribute__((constructor)) static void hold(void) {
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (sigaction(SIGSEGV, &action, NULL) != 0 || let_cpuid(0) != 0) {
        fputs("this processor or kernel cannot make CPUID fault (no cpuid_fault in /proc/cpuinfo)\n", stderr);
        _exit(2);
    }
}
