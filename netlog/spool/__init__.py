"""A spool: messages on disk until they are shipped, whatever kills the process.

The directory holds four kinds of files:

- *Segments* are appended to: a head, then records. Each record has a checksum over its fields, its
  payload and its place (segment and offset).
- The *cursor* says how far the reader has come.
- *committed* repeats what the last commit said, without a sync. If the segments end before that,
  they are damaged.
- The *spare* becomes the next segment. The spare and the cursor take their disk space in advance,
  so that shipped records can always be removed from a full disk.

These statements hold if the process is killed between any two system calls:

1. *A period is stored completely or not at all.* Its records count only when a commit record that
   was synced follows them; opening the spool cuts off records without a commit. A period may span
   several segments: all but the last are synced before the commit is written. A new segment has the
   spare's name until its head is complete, and only then gets its own name. So a segment without a
   complete head is damaged.
2. *No period is stored twice.* A commit holds the meter's id and the epoch; the head of each
   segment repeats the last epoch of every meter. The last segment is never removed, so the spool
   still knows what was committed when the records are long gone: `begin` returns False.
3. *Nothing committed is skipped.* The reader sees only committed records. When the reader has left
   a segment, the cursor is saved durably before the segment is removed. The cursor has two slots,
   each with a checksum and a number; a save overwrites the older one, so one slot is always valid.
   Each slot has a copy in the other's page, so no damage to one page makes the reader go back.
4. *Records that were read but not advanced over come again*, with the same (proc_id, proc_seq),
   which are part of the record. Nothing before the cursor ever comes again.
5. *No loss is forgotten, and none is reported twice.*

   - Each record moves the totals: messages, packets and bytes taken in since the spool was made.
     Heads, commits and the cursor hold the totals at their place.
   - What the totals count between the cursor and the end, and no segment holds, is lost. This can
     be computed at any time from the files that are left. So when the spool is full, the oldest
     segment is simply removed.
   - A record that reports the loss is committed with the next period. The reported amount is part
     of the totals too: the loss minus the amount reported is what remains to be reported.
   - If that record is lost before it is shipped, it counts as lost, and so is reported again.
6. *The spool does not get stuck.* Damage ends a segment, not the reading: reading continues with
   the next segment, and the totals at its head tell how much lay between. Nothing after a torn
   write is committed. A later commit, or the `committed` file, proves corruption, not a torn write.
   A period larger than the bound is stored as a gap in the totals, with its epoch, and so is
   reported as a loss.
7. *Nothing is believed that a checksum does not confirm*, the version of the format included: only
   an undamaged head of another format is refused. Damage to one file is never an error, and never
   makes the books wrong: what arrives and what is reported as lost is what was stored. If the
   cursor is gone, shipped messages come again, with the same identity.

What the reader has in hand is decided by its outcome. A full spool drops the segment of records
that are being shipped last, when nothing else makes room. Even then they count as lost only if the
attempt fails. What cannot be decided is an attempt without an answer: the process is killed, or the
connection breaks after the receiver stored the batch. If the segment is dropped before the next
attempt, such messages are reported as lost and may have arrived.
"""

from netlog.spool.place import Position
from netlog.spool.record import Record
from netlog.spool.spool import Spool, SpoolCounters

__all__ = ["Position", "Record", "Spool", "SpoolCounters"]
