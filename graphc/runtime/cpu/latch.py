"""What a latch does of a CPU's own: which memory a program can use, and how it is run.

LLVM text, as `runtime.latch` asks for.
"""

TEXT = """
define internal i64 @latch_memory(ptr %c, ptr %row, ptr %array) nounwind {
entry:
  %flags.at = getelementptr i8, ptr %array, i64 64
  %flags = load i32, ptr %flags.at
  %wanted = and i32 %flags, 257
  %dense = icmp eq i32 %wanted, 257
  %descr = call i64 @latch_word(ptr %array, i64 56)
  %descr.at = getelementptr i64, ptr %row, i64 $row.descr
  %descr.then = load i64, ptr %descr.at
  %typed = icmp eq i64 %descr, %descr.then
  %rank.at = getelementptr i8, ptr %array, i64 24
  %rank.short = load i32, ptr %rank.at
  %rank = sext i32 %rank.short to i64
  %rank.cell = getelementptr i64, ptr %row, i64 $row.rank
  %rank.then = load i64, ptr %rank.cell
  %ranked = icmp eq i64 %rank, %rank.then
  %first = and i1 %dense, %typed
  %good = and i1 %first, %ranked
  br i1 %good, label %sizes, label %no
sizes:
  %dims.at = getelementptr i8, ptr %array, i64 32
  %dims = load ptr, ptr %dims.at
  %then.at = getelementptr i64, ptr %row, i64 $row.dims
  %then = load ptr, ptr %then.at
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
  %k.next = add i64 %k, 1
  %same = icmp eq i64 %size, %was
  br i1 %same, label %next, label %no
yes:
  %data = call i64 @latch_word(ptr %array, i64 16)
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
  %error.at = getelementptr i64, ptr %job, i64 $job.error
  %error = load ptr, ptr %error.at
  %state = load i64, ptr %error
  %unset = icmp eq i64 %state, 0
  %good = and i1 %ended, %unset
  %answer = select i1 %good, i64 $RAN, i64 $OPEN
  ret i64 %answer
}
"""
