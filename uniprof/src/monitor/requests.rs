//! What a person wants, and what comes of it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uniprof_collector::cancel::Cancel;
use uniprof_tui::picture::Shown;
use uniprof_tui::{Answer, Request, SaveAs, Seen};
use uniprof_wire::record::Class;

use super::cut::Cut;
use super::engine::{Engine, Listed, Source};
use super::inside::Code;
use super::span::{QUARTERS, Reach};
use super::{listing, picture, save, source, tables};
use crate::attachment;
use crate::command::dump;
use crate::guest::Target;
use crate::output;

impl Engine {
    pub(super) fn request(&mut self, request: Request) -> Option<Answer> {
        match request {
            Request::Span(span) => {
                self.wanted.span = span;
                self.keep_what_is_seen();
            }
            Request::Show(shown) => match self.show(shown) {
                Ok(()) => {}
                Err(error) => return Some(said(false, format!("{error:#}"))),
            },
            Request::Speed(speed) => {
                if let Source::Replay(replay) = &mut self.source {
                    replay.set_speed(speed);
                    // Who goes on at the end begins anew.
                    if speed > 0.0 && replay.is_at_end() {
                        let begin = replay.range().0;
                        return self
                            .show(Shown::At(begin))
                            .err()
                            .map(|error| said(false, format!("{error:#}")));
                    }
                }
            }
            Request::Filter(text) => self.model.events.set_filter(&text, &self.model.seen.guest),
            Request::Rate(rate) => return Some(self.ask(|wanted| Ok(source::Wanted { rate, ..wanted }))),
            Request::Record { what, on } => return Some(self.record(&what, on)),
            Request::Listing(function) => {
                self.listed = function.map(|function| Listed { function, code: None, told: None });
                if let Some(Listed { function, .. }) = &self.listed {
                    let function = function.clone();
                    let reach = self.reach();
                    let at = listing::hottest(&listing::hits(&mut self.model, &reach, &function));
                    if !self.inside.as_ref().is_some_and(|inside| inside.ask(function, at)) {
                        return Some(said(
                            false,
                            "neither memory nor an image of the guest can be read".into(),
                        ));
                    }
                }
            }
            Request::Save(kind, path, seen) => return Some(self.save(kind, path, seen)),
            Request::Core => return Some(self.core()),
            Request::Quit => {}
        }
        None
    }

    /// The span that is seen.
    fn reach(&self) -> Reach {
        picture::reach(&self.model, self.wanted)
    }

    /// The listing that is wanted, if it is another than was told last.
    pub(super) fn listing(&mut self) -> Option<Answer> {
        let inside = self.inside.as_mut()?;
        inside.update(self.wanted.span);
        let codes: Vec<Code> = std::iter::from_fn(|| inside.take_code()).collect();
        let listed = self.listed.as_mut()?;
        listed.code = codes.into_iter().find(|code| code.function == listed.function).or(listed.code.take());
        let reach = picture::reach(&self.model, self.wanted);
        let hits = listing::hits(&mut self.model, &reach, &listed.function);
        let listing = listing::listing(&mut self.model.images, listed.code.as_ref()?, &hits, &self.path_map);
        if listed.told.as_ref() == Some(&listing) {
            return None;
        }
        listed.told = Some(listing.clone());
        Some(Answer::Listing(Arc::new(listing)))
    }

    /// Writes what is seen to a file, to none that is there.
    fn save(&mut self, kind: SaveAs, path: Option<PathBuf>, seen: Seen) -> Answer {
        let wanted = path.unwrap_or_else(|| save::name(&self.subject.name, kind));
        let path = save::free(wanted.clone());
        let written = match kind {
            SaveAs::Recording => self.save_recording(&path),
            SaveAs::Svg | SaveAs::Html => {
                save::drawing(&self.picture(), kind, seen.measured, &path).map(|()| String::new())
            }
            SaveAs::Text => {
                let picture = self.picture();
                output::file(&path, |out| tables::write(out, &picture, seen)).map(|()| String::new())
            }
        };
        let there =
            if path == wanted { String::new() } else { format!(" ({} was there already)", wanted.display()) };
        match written {
            Ok(more) => said(true, format!("wrote {}{there}{more}", path.display())),
            Err(error) => said(false, format!("{error:#}")),
        }
    }

    /// What is seen, by the guest's clock; to `u64::MAX` where that is the present.
    fn window(&self) -> Range<u64> {
        let (clock, quarters) = (self.model.seen.clock, self.reach().quarters());
        let moment = |quarter: u64| clock.tsc(quarter as f64 / QUARTERS as f64);
        let until = match self.wanted.shown {
            Shown::Now => u64::MAX,
            Shown::At(_) => moment(quarters.end),
        };
        (if quarters.start == 0 { 0 } else { moment(quarters.start) })..until
    }

    fn keep_what_is_seen(&mut self) {
        // With the second that follows: a recording ends with the first message that is later.
        let second = self.model.seen.clock.tsc_hz;
        let window = self.window();
        let seen = (window.end < u64::MAX).then(|| window.start..window.end.saturating_add(second));
        self.model.keep.iter_mut().for_each(|keep| keep.see(seen.clone()));
    }

    fn save_recording(&mut self, path: &Path) -> anyhow::Result<String> {
        let closing = match &mut self.source {
            Source::Live(live) => live.count(&mut self.model)?,
            _ => Vec::new(),
        };
        let model = &self.model;
        let Some(keep) = &model.keep else {
            anyhow::bail!("this is a file already: what it holds can be copied");
        };
        let clock = model.seen.clock;
        let symbolizer = model.images.symbolizers().next();
        let symbols = symbolizer.map(|(_, one)| attachment::pack(one.image(), &model.session.kernel));
        let mut session = model.session.clone();
        session.tool = concat!("uniprof ", env!("CARGO_PKG_VERSION")).into();
        let heap = &model.seen.waits.heap;
        let cut = Cut {
            window: self.window(),
            closing: &closing,
            heap,
            session,
            symbols: symbols.unwrap_or_default(),
        };
        let written = cut.write(keep, path)?;
        Ok(format!(
            ": {:.1} MB, from {:.1} s to {:.1} s after boot",
            written.bytes as f64 / 1e6,
            clock.seconds(written.from),
            clock.seconds(written.until)
        ))
    }

    /// Takes a core, aside: that may take seconds.
    fn core(&mut self) -> Answer {
        if let Err(why) = &self.subject.can.core {
            return said(false, why.clone());
        }
        let Some(pid) = self.subject.pid else { return said(false, "there is no process to read".into()) };
        let tell = self.aside.0.clone();
        let take = move || {
            let taken = Target::find(&pid.to_string()).and_then(|target| {
                let live = target.open()?;
                dump::take(&live, None, &Cancel::new(), |_, _| {})
            });
            let answer = match taken {
                Ok(taken) => {
                    let lacks: String = taken.lacks.iter().map(|lack| format!("; {lack}")).collect();
                    said(true, format!("wrote {}: {}{lacks}", taken.path.display(), taken.cost))
                }
                Err(error) => said(false, format!("{error:#}")),
            };
            // Nobody may be there any more to hear it.
            let _ = tell.send(answer);
        };
        match std::thread::Builder::new().name("core".into()).spawn(take) {
            Ok(_) => said(true, "a core is being taken".into()),
            Err(error) => said(false, format!("no core: {error}")),
        }
    }

    /// Asks the guest for something else than before.
    fn ask(&mut self, change: impl FnOnce(source::Wanted) -> Result<source::Wanted, String>) -> Answer {
        if let Err(why) = &self.subject.can.control {
            return said(false, why.clone());
        }
        let Source::Live(live) = &mut self.source else {
            return said(false, "the guest has ended: nothing can be asked of it".into());
        };
        match change(live.wanted().clone()).and_then(|wanted| live.ask(wanted)) {
            Ok(()) => {
                self.sites.iter_mut().for_each(source::SiteStates::forget);
                let wanted = live.wanted();
                let events = [wanted.events.class_words(), wanted.events.patterns.clone()];
                let events: Vec<String> =
                    events.into_iter().filter(|words| !words.is_empty() && words != "none").collect();
                let events =
                    if events.is_empty() { String::new() } else { format!(" and {}", events.join(",")) };
                said(true, format!("asked for {} Hz{events}", wanted.rate))
            }
            Err(why) => said(false, why),
        }
    }

    /// Has a class or sites recorded, or no longer.
    fn record(&mut self, what: &str, on: bool) -> Answer {
        if let Some(why) = self.stays_on(what).filter(|_| !on) {
            return said(false, why);
        }
        let sites = self.model.events.sites.clone();
        let answer = self.ask(|wanted| {
            let events = wanted.events.with(what, on)?;
            if on && !sites.is_empty() {
                events.check(&sites, "the guest")?;
            }
            Ok(source::Wanted { events, ..wanted })
        });
        let is_light =
            Class::ALL.into_iter().any(|class| class.name() == what && Class::LIGHT & class.bit() != 0);
        match answer {
            Answer::Said { done: true, .. } if !on && is_light => {
                said(true, format!("{what} is not asked for any more; a guest records it anyway"))
            }
            answer => answer,
        }
    }

    /// Why it would do nothing to ask for something no longer.
    fn stays_on(&self, what: &str) -> Option<String> {
        let Source::Live(live) = &self.source else { return None };
        if what == Class::Sample.name() {
            return Some("samples are what is looked at here; the key - asks for fewer of them".into());
        }
        let is_class = Class::ALL.into_iter().any(|class| class.name() == what);
        let is_site = self.model.events.sites.iter().any(|site| site.name == what);
        let is_asked_for = live.wanted().events.has(what);
        ((is_class || is_site) && !is_asked_for).then(|| {
            format!(
                "the guest records {what} by itself, or for somebody else: that can't be asked off from here"
            )
        })
    }

    fn show(&mut self, shown: Shown) -> anyhow::Result<()> {
        let Source::Replay(replay) = &mut self.source else {
            self.wanted.shown = shown;
            self.keep_what_is_seen();
            return Ok(());
        };
        let at = match shown {
            Shown::Now => None,
            Shown::At(at) => Some(at),
        };
        replay.seek(at, &mut self.model)
    }
}

fn said(done: bool, text: String) -> Answer {
    Answer::Said { done, text }
}
