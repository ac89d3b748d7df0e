"""The kernels of the tests as PTX, which every driver compiles for its card: nothing else is needed to build them.

A page is 4 KiB, 512 words of 64 bits, one block of 128 threads. A word's content is a hash of its place and a seed
(the finaliser of splitmix64), so that memory that is not there, or is there twice, can't answer right.
"""

from __future__ import annotations

PAGE_BYTES = 4096
THREADS = 128

# %d10 → %d10, with %d11 as scratch
_HASH = """
    shr.u64 %d11, %d10, 30; xor.b64 %d10, %d10, %d11; mul.lo.u64 %d10, %d10, 0xBF58476D1CE4E5B9;
    shr.u64 %d11, %d10, 27; xor.b64 %d10, %d10, %d11; mul.lo.u64 %d10, %d10, 0x94D049BB133111EB;
    shr.u64 %d11, %d10, 31; xor.b64 %d10, %d10, %d11;
"""
# %d1: base, %d2: number of the first word, %d3: seed, %r1: page, %d4: this thread's first word in the chunk
_PLACE = """
    mul.wide.u32 %d4, %r1, 512; mov.u32 %r2, %tid.x; cvt.u64.u32 %d5, %r2; add.u64 %d4, %d4, %d5;
    mov.u32 %r3, 0;
"""
_NEXT = """
    add.u64 %d4, %d4, 128; add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 4;
"""
_ADDRESS = "shl.b64 %d8, %d4, 3; add.u64 %d8, %d1, %d8;"
_REGISTERS = ".reg .u32 %r<8>; .reg .u64 %d<16>; .reg .pred %p<6>;"
_LOAD = """
    ld.param.u64 %d1, [base]; cvta.to.global.u64 %d1, %d1; ld.param.u64 %d2, [first]; ld.param.u64 %d3, [seed];
"""

PTX = f"""
.version 6.3
.target sm_60
.address_size 64

.visible .entry fill(.param .u64 base, .param .u64 first, .param .u64 seed)
{{
    {_REGISTERS}
    {_LOAD}
    mov.u32 %r1, %ctaid.x;
    {_PLACE}
WRITE:
    add.u64 %d10, %d4, %d2; add.u64 %d10, %d10, %d3;
    {_HASH}
    {_ADDRESS} st.global.u64 [%d8], %d10;
    {_NEXT} @%p1 bra WRITE;
    ret;
}}

.visible .entry check(.param .u64 base, .param .u64 first, .param .u64 seed, .param .u32 pages, .param .u64 result)
{{
    {_REGISTERS}
    {_LOAD}
    ld.param.u32 %r4, [pages]; mov.u32 %r5, %ctaid.x; sub.u32 %r1, %r4, %r5; sub.u32 %r1, %r1, 1;
    {_PLACE}
    setp.ne.u32 %p2, %r3, 0;
READ:
    add.u64 %d10, %d4, %d2; add.u64 %d10, %d10, %d3;
    {_HASH}
    {_ADDRESS} ld.global.u64 %d9, [%d8];
    setp.ne.u64 %p3, %d9, %d10; or.pred %p2, %p2, %p3;
    {_NEXT} @%p1 bra READ;
    bar.red.or.pred %p4, 0, %p2;
    setp.eq.u32 %p5, %r2, 0; and.pred %p4, %p4, %p5;
    @!%p4 bra DONE;
    ld.param.u64 %d12, [result]; cvta.to.global.u64 %d12, %d12;
    atom.global.add.u64 %d13, [%d12], 1;
    mul.wide.u32 %d14, %r1, 512; add.u64 %d14, %d14, %d2;
    atom.global.min.u64 %d13, [%d12+8], %d14;
DONE:
    ret;
}}

.visible .entry digest(.param .u64 base, .param .u64 first, .param .u64 seed, .param .u64 result)
{{
    {_REGISTERS}
    {_LOAD}
    mov.u32 %r1, %ctaid.x;
    {_PLACE}
    mov.u64 %d12, 0;
SUM:
    {_ADDRESS} ld.global.u64 %d10, [%d8];
    mul.lo.u64 %d9, %d4, 0x9E3779B97F4A7C15; xor.b64 %d10, %d10, %d9;
    {_HASH}
    add.u64 %d12, %d12, %d10;
    {_NEXT} @%p1 bra SUM;
    ld.param.u64 %d13, [result]; cvta.to.global.u64 %d13, %d13;
    atom.global.add.u64 %d14, [%d13], %d12;
    ret;
}}
"""
