//! Streams from the server, one after the other. Each item's length is looked at, and its first and last byte.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::systems::{Caller, ITEM_BYTE, Items, Taken};
use crate::work::load::Tally;

/// Takes items for so long. A stream that ends early is a failure.
pub(crate) async fn take(caller: &impl Caller, bytes: u32, window: u32, time: Duration) -> Result<Tally, Failure> {
    let end = Instant::now() + time;
    let count = ITEMS_BYTES / u64::from(bytes);
    let mut tally = Tally::default();
    while Instant::now() < end {
        let (mut taken, mut wrong, mut enough) = (0, 0_u64, Taken::More);
        let each = |item: &[u8]| {
            taken += 1;
            let right = item.len() == bytes as usize && item.first() == item.last() && item[0] == ITEM_BYTE;
            wrong += u64::from(!right);
            // The clock is not for each item.
            if taken % 64 == 0 && Instant::now() >= end {
                enough = Taken::Enough;
            }
            enough
        };
        caller.items(Items { count, bytes, window }, each).await?;
        if wrong > 0 || (taken != count && enough == Taken::More) {
            return Err(Failure::new(format!("{taken} of {count} items came, {wrong} of them wrong")));
        }
        tally.items += taken;
        tally.bytes += taken * u64::from(bytes);
    }
    Ok(tally)
}

/// What the items of one stream come to.
const ITEMS_BYTES: u64 = 64 << 20;
