"""The native loop that runs any program: compiled once, because programs are data.

A program is a table of entries `{function, args, flags, reserved}`. All threads walk it together;
where an entry's flags say so they meet at a barrier first. `graphc_run` is called by Python
(`entry.py`), patches the call's pointers, wakes the workers and walks as thread 0;
`graphc_worker` is the life of every other thread: spin for a job, then sleep, then walk.

Meeting. The barrier is dissemination: in round r thread t tells t + 2^r (by a flag of its own that
only it writes) and waits for t - 2^r; with two threads, one exchange of flags. Flags hold the
number of the barrier, so nothing is ever reset. A thread that waits long yields its processor.

Sleeping. A worker that sees no job spins, then offers its processor to others between looks; after
about a millisecond it raises its `asleep` flag, looks once more, and waits on a semaphore. The
caller publishes a job, then lowers each raised flag and posts. All four accesses are sequentially
consistent, so one of the two sees the other: no wake-up is lost, and exactly one post answers each
flag that the caller lowered. No thread holds the GIL meanwhile.

Stopping. All threads must leave at the same entry, and none may read the job once the caller may
have gone. So (1) the caller alone decides to abandon a step: `stop_at` names the entry, written
before the caller reaches its barrier and compared after it; (2) the error cell is read behind
a barrier, and what stops a walk is set before it, but where every access is checked, which may fail
anywhere: there it is read between two barriers; (3) every walk ends in a barrier.

Watching. A job may bring words of memory, pairs of an address and what must be there, which the
caller keeps alive. They are read first, in order, for one may tell whether what a later one is in
is still there; if one differs nothing runs and the result says so.

Signals. Python calls `graphc_run` with its lock (the GIL), which is given up while kernels run.
When more than `budget` ticks have passed the caller stops before it joins the next entry's barrier,
where the others wait, takes the lock and has Python run the handlers of signals that came; mostly
none did, and it goes on. If one raised, it returns the number of that entry, and what was raised
stands in Python's thread, as if any call had raised it. Python calls again to resume, and sets
`stop_at` first if the step is to be abandoned. The result goes through the job, because such a call
returns nothing.

Routines. An entry without code is a pause, too: the caller returns it, marked, Python runs it and
resumes behind it. The others pass it and wait at the next entry's barrier, where an error stops
all. So no other native thread ever needs the lock, and no exception has to cross native code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.ir.cpu_abi import (
    ABANDONED,
    AGAIN,
    BARRIER,
    COMMIT,
    FAILED,
    FINISHED,
    FIRST_THREAD_LINE,
    HOST,
    JOB,
    MOVED,
    PAIR_BYTES,
    POOL,
    ROUTINE,
    THREAD,
    Walker,
)  # fmt: skip
from graphc.runtime import latch
from graphc.runtime.cpu import entry
from graphc.runtime.cpu.latch import TEXT as LATCH_START
from graphc.runtime.cpu.processors import ARM, X86

# As in cpu_abi.Walker.
SYMBOLS = (
    "graphc_run",
    "graphc_worker",
    "graphc_wake",
    "graphc_clock",
    "graphc_enter",
    "graphc_latch",
)

Native = Callable[[str, Sequence[str]], list[int]]  # LLVM text, symbols -> addresses of functions


def walker(native: Native, triple: str) -> Walker:
    """The loop's functions for a machine, compiled by `native`, whose result keeps them mapped."""
    functions = native(module_text(triple), SYMBOLS)
    run, worker, wake, clock, enter, latched = functions
    return Walker(run, worker, wake, clock, enter, latched, functions)


def module_text(triple: str) -> str:
    """The module for a processor: x86-64 or 64-bit ARM."""
    numbers = {f"pool.{k}": v for k, v in POOL.items()} | {f"job.{k}": v for k, v in JOB.items()}
    numbers |= {f"thread.{k}": v for k, v in THREAD.items()} | {"line": PAIR_BYTES}
    numbers |= {"lines.before": PAIR_BYTES * FIRST_THREAD_LINE, "ROUTINE": ROUTINE}
    numbers |= {"BARRIER": BARRIER, "COMMIT": COMMIT, "HOST": HOST, "AGAIN": AGAIN}
    numbers |= {"FINISHED": FINISHED, "FAILED": FAILED, "ABANDONED": ABANDONED, "MOVED": MOVED}
    text = TEXT
    for name in sorted(numbers, key=len, reverse=True):  # a name may begin another
        text = text.replace("$" + name, str(numbers[name]))
    processor = ARM if triple.startswith(("aarch64", "arm64")) else X86
    return f'target triple = "{triple}"\n{processor}{text}{entry.text()}{latch.text(LATCH_START)}'


TEXT = """
define internal ptr @own(ptr %pool, i64 %tid) nounwind alwaysinline {
  %lines = mul i64 %tid, $line
  %at = add i64 %lines, $lines.before
  %own = getelementptr i8, ptr %pool, i64 %at
  ret ptr %own
}

define internal void @barrier(ptr %pool, i64 %tid, i64 %n) nounwind noinline {
entry:
  %own = call ptr @own(ptr %pool, i64 %tid)
  %epoch.at = getelementptr i64, ptr %own, i64 $thread.epoch
  %before = load i64, ptr %epoch.at
  %epoch = add i64 %before, 1
  store i64 %epoch, ptr %epoch.at
  %spins.at = getelementptr i64, ptr %pool, i64 $pool.spins
  %spins = load i64, ptr %spins.at
  %yield.at = getelementptr i64, ptr %pool, i64 $pool.yield
  %yield = load ptr, ptr %yield.at
  br label %round
round:
  %r = phi i64 [ 0, %entry ], [ %r.next, %arrived ]
  %step = phi i64 [ 1, %entry ], [ %step.next, %arrived ]
  %more = icmp slt i64 %step, %n
  br i1 %more, label %meet, label %done
meet:
  %mine = getelementptr i64, ptr %own, i64 %r
  store atomic i64 %epoch, ptr %mine release, align 8
  %ahead = add i64 %tid, %n
  %behind = sub i64 %ahead, %step
  %peer = urem i64 %behind, %n
  %other = call ptr @own(ptr %pool, i64 %peer)
  %theirs = getelementptr i64, ptr %other, i64 %r
  br label %spin
spin:
  %turn = phi i64 [ 0, %meet ], [ %turn.next, %pause ], [ %turn.next, %give ]
  %seen = load atomic i64, ptr %theirs acquire, align 8
  %there = icmp sge i64 %seen, %epoch
  br i1 %there, label %arrived, label %wait
wait:
  %turn.next = add i64 %turn, 1
  %patient = icmp slt i64 %turn, %spins
  br i1 %patient, label %pause, label %give
pause:
  call void @pause()
  br label %spin
give:
  %given = call i32 %yield()
  br label %spin
arrived:
  %r.next = add i64 %r, 1
  %step.next = shl i64 %step, 1
  br label %round
done:
  ret void
}

define internal i64 @walk(ptr %pool, ptr %job, i64 %tid, i64 %n, i64 %first) nounwind noinline {
entry:
  %table.at = getelementptr i64, ptr %job, i64 $job.table
  %table = load ptr, ptr %table.at
  %entries.at = getelementptr i64, ptr %job, i64 $job.entries
  %entries = load i64, ptr %entries.at
  %error.at = getelementptr i64, ptr %job, i64 $job.error
  %error = load ptr, ptr %error.at
  %budget.at = getelementptr i64, ptr %job, i64 $job.budget
  %budget = load i64, ptr %budget.at
  %stop.at = getelementptr i64, ptr %job, i64 $job.stop_at
  %ticks.at = getelementptr i64, ptr %job, i64 $job.ticks
  %ticks = load ptr, ptr %ticks.at
  %start = call i64 @graphc_clock()
  %own = call ptr @own(ptr %pool, i64 %tid)
  %room.at = getelementptr i64, ptr %own, i64 $thread.room
  %room = load ptr, ptr %room.at
  %caller = icmp eq i64 %tid, 0
  %alone = icmp eq i64 %n, 1
  %timed = icmp ne ptr %ticks, null
  %cells = add i64 %entries, 1
  %before = mul i64 %tid, %cells
  %stamps = getelementptr i64, ptr %ticks, i64 %before
  %ending = and i1 %timed, %caller
  br label %next
next:
  %i = phi i64 [ %first, %entry ], [ %i.next, %step ]
  %left = icmp slt i64 %i, %entries
  br i1 %left, label %look, label %finish
look:
  %row = getelementptr [4 x i64], ptr %table, i64 %i
  %flags.at = getelementptr i64, ptr %row, i64 2
  %flags = load i64, ptr %flags.at
  %bit = and i64 %flags, $BARRIER
  %flagged = icmp ne i64 %bit, 0
  %meeting = or i1 %flagged, %alone
  br i1 %meeting, label %timing, label %launch
timing:
  br i1 %caller, label %watch, label %meet
watch:
  %now = call i64 @graphc_clock()
  %spent = sub i64 %now, %start
  %late = icmp ugt i64 %spent, %budget
  br i1 %late, label %pause, label %meet
pause:
  ret i64 %i
meet:
  call void @barrier(ptr %pool, i64 %tid, i64 %n)
  %stop = load i64, ptr %stop.at
  %stopping = icmp eq i64 %stop, %i
  br i1 %stopping, label %abandon, label %checking
checking:
  %bit2 = and i64 %flags, $COMMIT
  %committing = icmp ne i64 %bit2, 0
  br i1 %committing, label %commit, label %launch
commit:
  %state = load i64, ptr %error
  %bad = icmp sgt i64 %state, 0
  %bit4 = and i64 %flags, $AGAIN
  %twice = icmp ne i64 %bit4, 0
  br i1 %twice, label %again, label %decide
again:
  call void @barrier(ptr %pool, i64 %tid, i64 %n)
  br label %decide
decide:
  br i1 %bad, label %fail, label %launch
launch:
  br i1 %timed, label %stamp, label %begin
stamp:
  %begun = call i64 @graphc_clock()
  %begun.at = getelementptr i64, ptr %stamps, i64 %i
  store i64 %begun, ptr %begun.at
  br label %begin
begin:
  %bit3 = and i64 %flags, $HOST
  %hosted = icmp ne i64 %bit3, 0
  br i1 %hosted, label %host, label %native
host:
  br i1 %caller, label %leave, label %step
leave:
  %marked = or i64 %i, $ROUTINE
  ret i64 %marked
native:
  %function = load ptr, ptr %row
  %args.at = getelementptr i64, ptr %row, i64 1
  %args = load ptr, ptr %args.at
  call void %function(ptr %args, i64 %tid, i64 %n, ptr %room)
  br label %step
step:
  %i.next = add i64 %i, 1
  br label %next
abandon:
  br label %finish
fail:
  br label %finish
finish:
  %result = phi i64 [ $FINISHED, %next ], [ $FAILED, %fail ], [ $ABANDONED, %abandon ]
  call void @barrier(ptr %pool, i64 %tid, i64 %n)
  br i1 %ending, label %last, label %return
last:
  %ended = call i64 @graphc_clock()
  %ended.at = getelementptr i64, ptr %ticks, i64 %i
  store i64 %ended, ptr %ended.at
  br label %return
return:
  ret i64 %result
}

define internal i64 @flushed(ptr %pool, ptr %job, i64 %tid, i64 %n, i64 %first) nounwind {
entry:
  %denormals.at = getelementptr i64, ptr %job, i64 $job.denormals
  %denormals = load i64, ptr %denormals.at
  %flush = icmp ne i64 %denormals, 0
  br i1 %flush, label %set, label %keep
set:
  %before = call i64 @control()
  %during = call i64 @flushing(i64 %before)
  call void @set_control(i64 %during)
  %flushed = call i64 @walk(ptr %pool, ptr %job, i64 %tid, i64 %n, i64 %first)
  call void @set_control(i64 %before)
  ret i64 %flushed
keep:
  %result = call i64 @walk(ptr %pool, ptr %job, i64 %tid, i64 %n, i64 %first)
  ret i64 %result
}

define internal i1 @same(ptr %job) nounwind {
  %words.at = getelementptr i64, ptr %job, i64 $job.watched
  %words = load ptr, ptr %words.at
  %count.at = getelementptr i64, ptr %job, i64 $job.watched_count
  %count = load i64, ptr %count.at
  %same = call i1 @same_words(ptr %words, i64 %count)
  ret i1 %same
}

define internal void @patch(ptr %job) nounwind {
entry:
  %cells.at = getelementptr i64, ptr %job, i64 $job.cells
  %cells = load ptr, ptr %cells.at
  %patches.at = getelementptr i64, ptr %job, i64 $job.patches
  %patches = load ptr, ptr %patches.at
  %count.at = getelementptr i64, ptr %job, i64 $job.patch_count
  %count = load i64, ptr %count.at
  %pointers.at = getelementptr i64, ptr %job, i64 $job.pointers
  %pointers = load ptr, ptr %pointers.at
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i.next, %one ]
  %left = icmp slt i64 %i, %count
  br i1 %left, label %one, label %done
one:
  %pair = getelementptr [2 x i64], ptr %patches, i64 %i
  %cell = load i64, ptr %pair
  %from.at = getelementptr i64, ptr %pair, i64 1
  %from = load i64, ptr %from.at
  %value.at = getelementptr i64, ptr %pointers, i64 %from
  %value = load i64, ptr %value.at
  %to = getelementptr i64, ptr %cells, i64 %cell
  store i64 %value, ptr %to
  %i.next = add i64 %i, 1
  br label %next
done:
  ret void
}

define void @graphc_wake(ptr %pool, ptr %job, i64 %n) nounwind {
entry:
  %job.at = getelementptr i64, ptr %pool, i64 $pool.job
  store ptr %job, ptr %job.at
  %old = atomicrmw add ptr %pool, i64 1 seq_cst
  %post.at = getelementptr i64, ptr %pool, i64 $pool.post
  %post = load ptr, ptr %post.at
  br label %next
next:
  %t = phi i64 [ 1, %entry ], [ %t.next, %awake ], [ %t.next, %wake ]
  %left = icmp slt i64 %t, %n
  br i1 %left, label %look, label %done
look:
  %t.next = add i64 %t, 1
  %own = call ptr @own(ptr %pool, i64 %t)
  %asleep.at = getelementptr i64, ptr %own, i64 $thread.asleep
  %asleep = load atomic i64, ptr %asleep.at seq_cst, align 8
  %sleeping = icmp ne i64 %asleep, 0
  br i1 %sleeping, label %claim, label %awake
claim:
  %was = atomicrmw xchg ptr %asleep.at, i64 0 seq_cst
  %mine = icmp ne i64 %was, 0
  br i1 %mine, label %wake, label %awake
wake:
  %semaphore.at = getelementptr i64, ptr %own, i64 $thread.semaphore
  %semaphore = load ptr, ptr %semaphore.at
  %posted = call i32 %post(ptr %semaphore)
  br label %next
awake:
  br label %next
done:
  ret void
}

define void @graphc_run(ptr %pool, ptr %job, i64 %resume) nounwind {
entry:
  %n.at = getelementptr i64, ptr %pool, i64 $pool.threads
  %n = load i64, ptr %n.at
  %result.at = getelementptr i64, ptr %job, i64 $job.result
  %resumed = call i64 @graphc_clock()
  %fresh = icmp slt i64 %resume, 0
  br i1 %fresh, label %look, label %go
look:
  %same = call i1 @same(ptr %job)
  br i1 %same, label %begin, label %moved
moved:
  store i64 $MOVED, ptr %result.at
  ret void
begin:
  call void @patch(ptr %job)
  call void @graphc_wake(ptr %pool, ptr %job, i64 %n)
  %woken = call i64 @graphc_clock()
  br label %go
go:
  %began = phi i64 [ %woken, %begin ], [ %resumed, %entry ], [ %ended.now, %pause ]
  %first = phi i64 [ 0, %begin ], [ %resume, %entry ], [ %result, %pause ]
  %release.at = getelementptr i64, ptr %pool, i64 $pool.release
  %release = load ptr, ptr %release.at
  %python = call ptr %release()
  %result = call i64 @flushed(ptr %pool, ptr %job, i64 0, i64 %n, i64 %first)
  %ended.now = call i64 @graphc_clock()
  %walked = sub i64 %ended.now, %began
  %walked.at = getelementptr i64, ptr %pool, i64 $pool.walked
  %walked.before = load i64, ptr %walked.at
  %walked.now = add i64 %walked.before, %walked
  store i64 %walked.now, ptr %walked.at
  %take.at = getelementptr i64, ptr %pool, i64 $pool.take
  %take = load ptr, ptr %take.at
  call void %take(ptr %python)
  %ended = icmp slt i64 %result, 0
  %routine = icmp sge i64 %result, $ROUTINE
  %leaving = or i1 %ended, %routine
  br i1 %leaving, label %leave, label %pause
pause:
  %signals.at = getelementptr i64, ptr %pool, i64 $pool.signals
  %signals = load ptr, ptr %signals.at
  %raised = call i32 %signals()
  %quiet = icmp eq i32 %raised, 0
  br i1 %quiet, label %go, label %leave
leave:
  store i64 %result, ptr %result.at
  ret void
}

define void @graphc_worker(ptr %pool, i64 %tid, i64 %seen.first) nounwind {
entry:
  %own = call ptr @own(ptr %pool, i64 %tid)
  %asleep.at = getelementptr i64, ptr %own, i64 $thread.asleep
  %semaphore.at = getelementptr i64, ptr %own, i64 $thread.semaphore
  %semaphore = load ptr, ptr %semaphore.at
  %wait.at = getelementptr i64, ptr %pool, i64 $pool.wait
  %wait = load ptr, ptr %wait.at
  %spins.at = getelementptr i64, ptr %pool, i64 $pool.spins
  %spins = load i64, ptr %spins.at
  %yields.at = getelementptr i64, ptr %pool, i64 $pool.yields
  %yields = load i64, ptr %yields.at
  %turns = add i64 %spins, %yields
  %yield.at = getelementptr i64, ptr %pool, i64 $pool.yield
  %yield = load ptr, ptr %yield.at
  %n.at = getelementptr i64, ptr %pool, i64 $pool.threads
  %n = load i64, ptr %n.at
  %job.at = getelementptr i64, ptr %pool, i64 $pool.job
  br label %idle
idle:
  %seen = phi i64 [ %seen.first, %entry ], [ %seen, %rouse ], [ %generation, %work ]
  br label %spin
spin:
  %turn = phi i64 [ 0, %idle ], [ %turn.next, %pause ], [ %turn.next, %give ]
  %generation = load atomic i64, ptr %pool acquire, align 8
  %called = icmp ne i64 %generation, %seen
  br i1 %called, label %take, label %wait.more
wait.more:
  %turn.next = add i64 %turn, 1
  %patient = icmp slt i64 %turn, %spins
  br i1 %patient, label %pause, label %tire
pause:
  call void @pause()
  br label %spin
tire:
  %awake = icmp slt i64 %turn, %turns
  br i1 %awake, label %give, label %doze
give:
  %given = call i32 %yield()
  br label %spin
doze:
  %flag = atomicrmw xchg ptr %asleep.at, i64 1 seq_cst
  %again = load atomic i64, ptr %pool seq_cst, align 8
  %missed = icmp ne i64 %again, %seen
  br i1 %missed, label %retract, label %sleep
retract:
  %was = atomicrmw xchg ptr %asleep.at, i64 0 seq_cst
  %unseen = icmp ne i64 %was, 0
  br i1 %unseen, label %rouse, label %sleep
sleep:
  %failed = call i32 %wait(ptr %semaphore)
  %interrupted = icmp ne i32 %failed, 0
  br i1 %interrupted, label %sleep, label %rouse
rouse:
  br label %idle
take:
  %job = load ptr, ptr %job.at
  %quit = icmp eq ptr %job, null
  br i1 %quit, label %leave, label %work
work:
  %result = call i64 @flushed(ptr %pool, ptr %job, i64 %tid, i64 %n, i64 0)
  br label %idle
leave:
  ret void
}
"""
