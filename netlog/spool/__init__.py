"""A spool: messages on disk until they are shipped, whatever kills the process.

A directory with three kinds of files. *Segments* are appended to: a head, then records, each with a
checksum over its fields, its payload and its place. The *cursor* says how far the reader came. The
*spare* is what the next segment is made of; with that and the cursor's room taken beforehand, a
disk that is full of records which were shipped can always be freed.

What holds, if the process is killed between any two system calls:

1. *A period is there as a whole or not at all.* Its records count only when a commit follows them
   that was synced; opening cuts off what has none. A period may run over several segments: those
   before the last one are synced before the commit is written. A new segment is the spare until
   its head is complete, and then gets its own name; so a segment has a head, or damage.
2. *No period is stored twice.* The commit carries the meter's id and the epoch; the head of each
   segment repeats the last epoch of every meter. The last segment is never removed, so what was
   committed is known when its records are long gone: `begin` returns False.
3. *Nothing committed is passed over.* The reader sees committed records only. The cursor is saved,
   durably, before a segment that it left is removed. It is overwritten in the older of two slots,
   each with a checksum and a number, so one of them is always whole.
4. *What was read but not advanced over comes again*, with the same (proc_id, proc_seq): both are in
   the record. Nothing before the cursor ever comes again.
5. *No loss is forgotten, and none is told twice.* Each record moves the totals (messages, packets,
   bytes taken in since the spool was made), and heads, commits and the cursor say the totals where
   they stand. Lost is what the totals count between the cursor and the end and no segment has; that
   can be reckoned at any time from what is left. So the oldest segment of a full spool is simply
   removed. A record that tells of the loss is committed with the next period; its amount is part
   of the totals too: what is lost, less what was told, is what remains to be told. If the record is
   lost before it is shipped, it counts as lost, and so is told again.
6. *It does not wedge.* Damage ends a segment, not the reading: the next segment goes on, and the
   totals at its head tell what lay between. Behind a tear nothing is committed; if there is a
   commit behind it, it is damage and no tear. A period greater than the bound is stored as a gap in
   the totals, with its epoch, and so told as a loss.

What the reader had in its hands when the segment was removed under it may have been told as lost
and arrive all the same; as the telling is reckoned from totals, the next one is less by as much.
"""

from netlog.spool.place import Position
from netlog.spool.record import Record
from netlog.spool.spool import Spool, SpoolCounters

__all__ = ["Position", "Record", "Spool", "SpoolCounters"]
