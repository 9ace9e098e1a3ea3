"""What a latch does of a CPU's own: which memory a program can use, and how it is run.

LLVM text, as `runtime.latch` asks for.
"""

TEXT = """
define internal i64 @latch_memory(ptr %c, ptr %row, ptr %array) nounwind {
entry:
  %flags = array i32 flags
  %aligned.flag = and i32 %flags, $ARRAY_ALIGNED
  %aligned = icmp ne i32 %aligned.flag, 0
  %descr = array i64 descr
  %descr.then = row i64 descr
  %typed = icmp eq i64 %descr, %descr.then
  %rank.short = array i32 rank
  %rank = sext i32 %rank.short to i64
  %rank.then = row i64 rank
  %ranked = icmp eq i64 %rank, %rank.then
  %first = and i1 %aligned, %typed
  %good = and i1 %first, %ranked
  br i1 %good, label %sizes, label %no
sizes:
  %dims = array ptr dims
  %then = row ptr dims
  %strides = array ptr strides
  %steps = row ptr steps
  br label %next
next:
  %k = phi i64 [ 0, %sizes ], [ %k.next, %one ]
  %left = icmp slt i64 %k, %rank
  br i1 %left, label %one, label %yes
one:
  %size.at = getelementptr i64, ptr %dims, i64 %k
  %size = load i64, ptr %size.at
  %was.at = getelementptr i64, ptr %then, i64 %k
  %was = load i64, ptr %was.at
  %stride.at = getelementptr i64, ptr %strides, i64 %k
  %stride = load i64, ptr %stride.at
  %step.at = getelementptr i64, ptr %steps, i64 %k
  %step = load i64, ptr %step.at
  %k.next = add i64 %k, 1
  %same = icmp eq i64 %size, %was
  %lies = icmp eq i64 %stride, %step
  %alone = icmp eq i64 %size, 1
  %either = or i1 %lies, %alone
  %both = and i1 %same, %either
  br i1 %both, label %next, label %no
yes:
  %data = array i64 data
  ret i64 %data
no:
  ret i64 0
}

define internal i64 @latch_start(ptr %c, ptr %pointers) nounwind {
entry:
  %pool = cell ptr pool
  %job = cell ptr job
  %watched.at = getelementptr i64, ptr %job, i64 $job.watched_count
  store i64 0, ptr %watched.at
  %stop.at = getelementptr i64, ptr %job, i64 $job.stop_at
  store i64 -1, ptr %stop.at
  %result.at = getelementptr i64, ptr %job, i64 $job.result
  store i64 $MOVED, ptr %result.at
  call void @graphc_run(ptr %pool, ptr %job, i64 -1)
  %result = load i64, ptr %result.at
  %ended = icmp eq i64 %result, $FINISHED
  %error = job ptr error
  %state = load i64, ptr %error
  %unset = icmp eq i64 %state, 0
  %good = and i1 %ended, %unset
  %answer = select i1 %good, i64 $RAN, i64 $OPEN
  ret i64 %answer
}
"""
