//! Short messages at the window's foot.

use egui::{Align2, Area, Id, Order, Rect, RichText, ScrollArea, Ui, vec2};

use super::icons::{Icon, icon_button};
use super::theme::{self, palette};
use crate::state::Studio;
use crate::state::action::Action;
use crate::state::notice::NoticeKind;

/// Draws the messages, the latest lowest.
pub fn show(ui: &Ui, studio: &Studio, canvas: Option<Rect>, actions: &mut Vec<Action>) {
    if studio.notices.shown().is_empty() {
        return;
    }
    let canvas = canvas.unwrap_or_else(|| ui.ctx().content_rect());
    let foot = canvas.center_bottom() - vec2(0.0, 2.0 * theme::STEP);
    let area = Area::new(Id::unique("notices")).order(Order::Foreground).pivot(Align2::CENTER_BOTTOM).fixed_pos(foot);
    area.show(ui, |ui| {
        // The frame's own margins are outside of it.
        let width = (canvas.width() - 6.0 * theme::STEP).clamp(240.0, 560.0);
        for notice in studio.notices.shown() {
            let colours = palette(ui);
            let (fill, colour) = match notice.kind {
                NoticeKind::GoodNews => (colours.control, colours.text),
                NoticeKind::Error | NoticeKind::Refusal => (colours.error_panel, colours.error),
            };
            theme::message_frame(ui, fill).show(ui, |ui| {
                ui.set_width(width);
                ScrollArea::vertical().max_height(120.0).id_salt(notice.id).show(ui, |ui| {
                    ui.set_width(width);
                    ui.horizontal_top(|ui| {
                        let is_news = notice.kind == NoticeKind::GoodNews;
                        let room = width - if is_news { 40.0 } else { 104.0 };
                        ui.allocate_ui(vec2(room, 0.0), |ui| {
                            ui.set_width(room);
                            ui.add(egui::Label::new(RichText::new(&notice.text).color(colour)).wrap());
                        });
                        if !is_news && ui.button("Copy").on_hover_text("Copy this message").clicked() {
                            actions.push(Action::CopyText(notice.text.clone()));
                        }
                        if icon_button(ui, Icon::Cross, "Dismiss", "Take this message away").clicked() {
                            actions.push(Action::DismissNotice(notice.id));
                        }
                    });
                });
            });
        }
    });
}
