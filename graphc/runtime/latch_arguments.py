"""How a latch compares the arguments of a call with those of the last one: LLVM text.

`%x = cell T name` loads a cell of the latch, and in the same way `row` of one of its arguments,
`set` of one of its results, `array` of NumPy's struct. `%x = word cell of y` is a word of the
object %y, where a cell says that it is; `%x = own name or cell` an attribute of the object %x, or
what a cell holds where that is unset (null, without one). `latch.py` fills them in.
"""

TEXT = """
define internal i64 @latch_word(ptr %x, i64 %bytes) nounwind alwaysinline {
  %at = getelementptr i8, ptr %x, i64 %bytes
  %word = load i64, ptr %at
  ret i64 %word
}

define internal ptr @latch_get(ptr %c, ptr %x, ptr %name) nounwind {
entry:
  %get = cell ptr attribute
  %found = call ptr %get(ptr %x, ptr %name)
  %none = icmp eq ptr %found, null
  br i1 %none, label %failed, label %good
failed:
  %clear = cell ptr clear
  call void %clear()
  ret ptr null
good:
  %drop = cell ptr drop
  call void %drop(ptr %found)
  ret ptr %found
}

define internal ptr @latch_own(ptr %c, ptr %x, ptr %name, i64 %place, ptr %default) nounwind {
entry:
  %values.at = cell i64 values_at
  %known = icmp ne i64 %values.at, 0
  br i1 %known, label %look, label %ask
look:
  %values.number = call i64 @latch_word(ptr %x, i64 %values.at)
  %inside = icmp ne i64 %values.number, 0
  br i1 %inside, label %inline, label %ask
inline:
  %values = inttoptr i64 %values.number to ptr
  %value.at = getelementptr ptr, ptr %values, i64 %place
  %value = load ptr, ptr %value.at
  %unset = icmp eq ptr %value, null
  %found = select i1 %unset, ptr %default, ptr %value
  ret ptr %found
ask:
  %asked = call ptr @latch_get(ptr %c, ptr %x, ptr %name)
  ret ptr %asked
}

define internal i1 @latch_is(ptr %c, ptr %x, ptr %name, ptr %wanted) nounwind {
  %found = call ptr @latch_get(ptr %c, ptr %x, ptr %name)
  %same = icmp eq ptr %found, %wanted
  ret i1 %same
}

define internal i1 @latch_equal(ptr %c, ptr %x, ptr %y) nounwind {
entry:
  %same = icmp eq ptr %x, %y
  br i1 %same, label %yes, label %compare
compare:
  %equal = cell ptr equal
  %answer = call i32 %equal(ptr %x, ptr %y, i32 2)
  %failed = icmp slt i32 %answer, 0
  br i1 %failed, label %clear, label %tell
clear:
  %clearing = cell ptr clear
  call void %clearing()
  ret i1 false
tell:
  %good = icmp eq i32 %answer, 1
  ret i1 %good
yes:
  ret i1 true
}

define internal i1 @latch_spec(ptr %c, ptr %row, ptr %x) nounwind {
entry:
  %spec.now = own spec
  %wanted = row ptr object
  %same = icmp eq ptr %spec.now, %wanted
  br i1 %same, label %yes, label %look
look:
  %none = icmp eq ptr %spec.now, null
  br i1 %none, label %no, label %typed
typed:
  %name.dtype = cell ptr name_dtype
  %dtype = row ptr dtype
  %like = call i1 @latch_is(ptr %c, ptr %spec.now, ptr %name.dtype, ptr %dtype)
  br i1 %like, label %shaped, label %no
shaped:
  %name.shape = cell ptr name_shape
  %shape = call ptr @latch_get(ptr %c, ptr %spec.now, ptr %name.shape)
  %lost = icmp eq ptr %shape, null
  br i1 %lost, label %no, label %compare
compare:
  %then = row ptr shape
  %equal = call i1 @latch_equal(ptr %c, ptr %shape, ptr %then)
  ret i1 %equal
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i1 @latch_apart(ptr %c, ptr %rows, i64 %before, ptr %storage) nounwind {
entry:
  %contains = cell ptr contains
  %storages = cell ptr storages
  %inside = call i32 %contains(ptr %storages, ptr %storage)
  %apart = icmp eq i32 %inside, 0
  br i1 %apart, label %next, label %no
next:
  %k = phi i64 [ 0, %entry ], [ %k.next, %one ]
  %left = icmp slt i64 %k, %before
  br i1 %left, label %one, label %yes
one:
  %first = mul i64 %k, $ROW_CELLS
  %row = getelementptr i64, ptr %rows, i64 %first
  %other = row ptr storage
  %k.next = add i64 %k, 1
  %same = icmp eq ptr %other, %storage
  br i1 %same, label %no, label %next
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i1 @latch_unflagged(ptr %c, ptr %x) nounwind {
entry:
  %kind = call i64 @latch_word(ptr %x, i64 8)
  %tensor = cell i64 tensor
  %is.tensor = icmp eq i64 %kind, %tensor
  br i1 %is.tensor, label %flag, label %no
flag:
  %false = cell ptr false
  %flag.now = own flag or false
  %unflagged = icmp eq ptr %flag.now, %false
  ret i1 %unflagged
no:
  ret i1 false
}

define internal i1 @latch_tensor(ptr %c, ptr %rows, i64 %k, ptr %x, ptr %pointers) nounwind {
entry:
  %first = mul i64 %k, $ROW_CELLS
  %row = getelementptr i64, ptr %rows, i64 %first
  %kind = call i64 @latch_word(ptr %x, i64 8)
  %tensor = cell i64 tensor
  %is.tensor = icmp eq i64 %kind, %tensor
  br i1 %is.tensor, label %array, label %no
array:
  %array.now = own array
  %lost = icmp eq ptr %array.now, null
  br i1 %lost, label %no, label %arrayed
arrayed:
  %array.kind = call i64 @latch_word(ptr %array.now, i64 8)
  %array.type = cell i64 array
  %is.array = icmp eq i64 %array.kind, %array.type
  br i1 %is.array, label %flag, label %no
flag:
  %flag.then = row ptr flag
  %flag.now = own flag or false
  %flagged = icmp eq ptr %flag.now, %flag.then
  br i1 %flagged, label %views, label %no
views:
  %empty = cell ptr empty
  %views.now = own views or empty
  %whole = icmp eq ptr %views.now, %empty
  %none = cell ptr none
  %base.now = own base or none
  %own = icmp eq ptr %base.now, %none
  %itself = and i1 %whole, %own
  br i1 %itself, label %spec, label %view
view:
  %plain = row i64 plain
  %may = icmp ne i64 %plain, 0
  br i1 %may, label %base, label %no
base:
  br i1 %own, label %spec, label %history
history:
  %unrecorded = call i1 @latch_unflagged(ptr %c, ptr %base.now)
  br i1 %unrecorded, label %spec, label %no
spec:
  %typed = call i1 @latch_spec(ptr %c, ptr %row, ptr %x)
  br i1 %typed, label %storage, label %no
storage:
  %storage.now = own storage
  %missing = icmp eq ptr %storage.now, null
  br i1 %missing, label %no, label %shown
shown:
  %strides = word shown_at of storage.now
  %shown.now = inttoptr i64 %strides to ptr
  %shown.then = row ptr shown
  %alike = call i1 @latch_equal(ptr %c, ptr %shown.now, ptr %shown.then)
  br i1 %alike, label %apart, label %no
apart:
  %alone = call i1 @latch_apart(ptr %c, ptr %rows, i64 %k, ptr %storage.now)
  br i1 %alone, label %note, label %no
note:
  %seen.at = getelementptr i64, ptr %row, i64 $row.storage
  store ptr %storage.now, ptr %seen.at
  %slot = row i64 slot
  %used = icmp sge i64 %slot, 0
  br i1 %used, label %memory, label %yes
memory:
  %data = call i64 @latch_memory(ptr %c, ptr %row, ptr %array.now)
  %usable = icmp ne i64 %data, 0
  br i1 %usable, label %point, label %no
point:
  %pointer = getelementptr i64, ptr %pointers, i64 %slot
  store i64 %data, ptr %pointer
  br label %yes
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i1 @latch_arguments(ptr %c, ptr %args, i64 %count, ptr %pointers) nounwind {
entry:
  %rows = cell ptr rows
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k.next, %good ]
  %left = icmp slt i64 %k, %count
  br i1 %left, label %one, label %yes
one:
  %arg.at = getelementptr ptr, ptr %args, i64 %k
  %x = load ptr, ptr %arg.at
  %first = mul i64 %k, $ROW_CELLS
  %row = getelementptr i64, ptr %rows, i64 %first
  %kind = load i64, ptr %row
  %tensor = icmp ne i64 %kind, 0
  br i1 %tensor, label %tensors, label %value
value:
  %value.then = row ptr object
  %same = icmp eq ptr %x, %value.then
  br i1 %same, label %noted, label %no
noted:
  %seen.at = getelementptr i64, ptr %row, i64 $row.storage
  store ptr null, ptr %seen.at
  br label %good
tensors:
  %fits = call i1 @latch_tensor(ptr %c, ptr %rows, i64 %k, ptr %x, ptr %pointers)
  br i1 %fits, label %good, label %no
good:
  %k.next = add i64 %k, 1
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}
"""
