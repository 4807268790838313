//! The steps of a run that operators take, beside those of its plan: the record begins with the cluster, a release is
//! let in before the first node starts as it, and the way back is closed once the plan does not come back to it.

use rexi_proto::Release;

use super::{Halt, Run};
use crate::plan::Leave;
use crate::rehearse::operate::{Damage, Operating};

impl Run {
    /// Begins the record, without which no node serves.
    pub(super) async fn begin_record(&mut self) -> Result<(), Halt> {
        let Some(operating) = &mut self.operating else { return Ok(()) };
        operating.make(&["init"], None).await.map_err(|why| Halt::Operation { why })
    }

    /// Lets a release in that a node is about to start as, where it may not yet; before, closes the way back to the one
    /// before, if it is open.
    pub(super) async fn let_in(&mut self, to: Release) -> Result<(), Halt> {
        let Some((floor, top)) = self.operating.as_ref().and_then(Operating::window) else { return Ok(()) };
        if to <= top {
            return Ok(());
        }
        if floor < top {
            self.close_way_back().await?;
        }
        self.try_barred(to).await?;
        self.refuse_writes(to).await?;
        let Some(operating) = &self.operating else { return Ok(()) };
        let advance = operating.advance(to);
        self.operate(&advance).await?;
        if let Some(operating) = &mut self.operating {
            operating.expect("advance", |_, top| top == to);
        }
        Ok(())
    }

    /// Makes the highest release the lowest, and shows that there is no way back.
    pub(super) async fn close_way_back(&mut self) -> Result<(), Halt> {
        let Some(operating) = &self.operating else { return Ok(()) };
        let Some((floor, top)) = operating.window().filter(|(floor, top)| floor < top) else { return Ok(()) };
        let finalize = operating.finalize(top);
        self.operate(&finalize).await?;
        if let Some(operating) = &mut self.operating {
            operating.expect("finalize", |floor, _| floor == top);
        }
        self.try_barred(floor).await
    }

    /// Once in a run the disk of a member takes no writes while operators want some. No command says that it is done; a
    /// write that has failed is not tried again, so the member says yes to nothing until it was started again.
    async fn refuse_writes(&mut self, to: Release) -> Result<(), Halt> {
        let failed = |why: String| Halt::Operation { why };
        let Some(operating) = &mut self.operating else { return Ok(()) };
        let Some(node) = operating.take_disk_away().map_err(failed)? else { return Ok(()) };
        operating.expect_refusal(&["hold"], node).await.map_err(failed)?;
        operating.give_disk_back(node).map_err(failed)?;
        let preflight = ["preflight", "--to", &to.to_string(), "--only", "floor-durable"];
        operating.expect_refusal(&preflight, node).await.map_err(failed)?;
        self.start_again(node, self.at[node], Leave::Kill).await?;
        let Some(operating) = &mut self.operating else { return Ok(()) };
        operating.make(&["lift"], None).await.map_err(failed)
    }

    async fn try_barred(&mut self, release: Release) -> Result<(), Halt> {
        let nodes = self.at.len();
        let Some(operating) = &mut self.operating else { return Ok(()) };
        let node = operating.chance(nodes);
        operating.try_barred(node, release).await.map_err(|why| Halt::Operation { why })
    }

    /// Gives a command, in the middle of which the tool or a member may be killed.
    async fn operate(&mut self, args: &[String]) -> Result<(), Halt> {
        let nodes = self.at.len();
        let failed = |why: String| Halt::Operation { why };
        let Some(operating) = &mut self.operating else { return Ok(()) };
        let mut first = None;
        match operating.chance(3) {
            0 => {
                let tool = operating.begin(args).map_err(|error| failed(error.to_string()))?;
                operating.kill(tool).await;
            }
            1 => {
                first = Some(operating.begin(args).map_err(|error| failed(error.to_string()))?);
                let victim = operating.chance(nodes);
                operating.done.nodes_killed += 1;
                self.start_again(victim, self.at[victim], Leave::Kill).await?;
            }
            _ => {}
        }
        let Some(operating) = &mut self.operating else { return Ok(()) };
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        operating.make(&words, first).await.map_err(failed)
    }

    /// What happens to the disk of a node that is down.
    pub(super) async fn damage(&mut self, node: usize, release: Release) -> Result<Damage, Halt> {
        let Some(operating) = &mut self.operating else { return Ok(Damage::None) };
        operating.damage(node, release).await.map_err(|why| Halt::Operation { why })
    }

    /// Makes a node whose disk came new a member that says yes again.
    pub(super) async fn heal(&mut self, node: usize, damage: Damage) -> Result<(), Halt> {
        match &mut self.operating {
            Some(operating) if damage == Damage::Anew => {
                operating.forget_wiped(node).await.map_err(|why| Halt::Operation { why })
            }
            _ => Ok(()),
        }
    }

    /// Looks at what operators have left behind, before the nodes leave.
    pub(super) async fn verify_trails(&mut self) -> Result<(), Halt> {
        let Some(operating) = &mut self.operating else { return Ok(()) };
        operating.verify_trails().await.map_err(|why| Halt::Operation { why })
    }
}
