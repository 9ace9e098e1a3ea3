"""What the dispatch loop asks of a processor, as LLVM text: a pause, a clock, float control."""

from __future__ import annotations

X86 = """
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
declare i64 @llvm.readcyclecounter()

define internal void @pause() nounwind alwaysinline {
  call void @llvm.x86.sse2.pause()
  ret void
}
define i64 @graphc_clock() nounwind alwaysinline {
  %now = call i64 @llvm.readcyclecounter()
  ret i64 %now
}
define internal i64 @control() nounwind {
  %at = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  %bits = load i32, ptr %at
  %wide = zext i32 %bits to i64
  ret i64 %wide
}
define internal void @set_control(i64 %wide) nounwind {
  %at = alloca i32
  %bits = trunc i64 %wide to i32
  store i32 %bits, ptr %at
  call void @llvm.x86.sse.ldmxcsr(ptr %at)
  ret void
}
define internal i64 @flushing(i64 %control) nounwind alwaysinline {
  %new = or i64 %control, 32832 ; flush to zero, denormals are zero
  ret i64 %new
}
"""

# The cycle counter traps in user mode on ARM, where the steady counter is a register.
ARM = """
declare void @llvm.aarch64.hint(i32)
declare i64 @llvm.readsteadycounter()
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)

define internal void @pause() nounwind alwaysinline {
  call void @llvm.aarch64.hint(i32 1)
  ret void
}
define i64 @graphc_clock() nounwind alwaysinline {
  %now = call i64 @llvm.readsteadycounter()
  ret i64 %now
}
define internal i64 @control() nounwind {
  %bits = call i64 @llvm.aarch64.get.fpcr()
  ret i64 %bits
}
define internal void @set_control(i64 %bits) nounwind {
  call void @llvm.aarch64.set.fpcr(i64 %bits)
  ret void
}
define internal i64 @flushing(i64 %control) nounwind alwaysinline {
  %new = or i64 %control, 16777216 ; FPCR.FZ
  ret i64 %new
}
"""
