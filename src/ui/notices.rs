//! Short messages at the window's foot.

use egui::{Align2, Area, Id, Order, RichText, ScrollArea, Ui, vec2};

use super::icons::{Icon, icon_button};
use super::theme::{self, palette};
use crate::state::Studio;
use crate::state::action::Action;
use crate::state::notice::NoticeKind;

/// Draws the messages, the latest lowest.
pub fn show(ui: &Ui, studio: &Studio, actions: &mut Vec<Action>) {
    if studio.notices.shown().is_empty() {
        return;
    }
    let above_the_bar = vec2(0.0, -52.0);
    let area = Area::new(Id::unique("notices")).order(Order::Foreground).anchor(Align2::CENTER_BOTTOM, above_the_bar);
    area.show(ui, |ui| {
        let width = (ui.ctx().content_rect().width() * 0.5).clamp(280.0, 560.0);
        for notice in studio.notices.shown() {
            let colours = palette(ui);
            let (fill, colour) = match notice.kind {
                NoticeKind::GoodNews => (colours.control, colours.text),
                NoticeKind::Error => (colours.error_panel, colours.error),
            };
            theme::message_frame(ui, fill).show(ui, |ui| {
                ui.set_width(width);
                ScrollArea::vertical().max_height(120.0).id_salt(notice.id).show(ui, |ui| {
                    ui.set_width(width);
                    ui.horizontal_top(|ui| {
                        let room = width - if notice.kind == NoticeKind::Error { 104.0 } else { 40.0 };
                        ui.allocate_ui(vec2(room, 0.0), |ui| {
                            ui.set_width(room);
                            ui.add(egui::Label::new(RichText::new(&notice.text).color(colour)).wrap());
                        });
                        if notice.kind == NoticeKind::Error
                            && ui.button("Copy").on_hover_text("Copy this message").clicked()
                        {
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
