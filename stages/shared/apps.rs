//! The configured apps, found by id or by place.

use std::collections::HashMap;

use tidegate_domain::app::App;
use tidegate_domain::ids::AppId;

pub struct Apps {
    list: Vec<App>,
    by_id: HashMap<Box<str>, AppId>,
}

impl Apps {
    /// Each app's `index` becomes its place in `list`.
    pub fn new(mut list: Vec<App>) -> Self {
        let mut by_id = HashMap::new();
        for (index, app) in list.iter_mut().enumerate() {
            app.index = AppId(u16::try_from(index).unwrap_or(u16::MAX));
            by_id.insert(app.id.clone(), app.index);
        }
        Apps { list, by_id }
    }

    pub fn find(&self, id: &str) -> Option<AppId> {
        self.by_id.get(id).copied()
    }

    pub fn get(&self, app: AppId) -> &App {
        &self.list[usize::from(app.0)]
    }

    pub fn all(&self) -> &[App] {
        &self.list
    }
}
