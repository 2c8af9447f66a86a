//! A chart as SVG: two axes, a grid, and what is drawn on it. Colours are the page's variables, so that it is good in light
//! and dark.

use std::fmt::Write;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 48.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// Series have so many colours, then they begin again with dashes.
pub const COLOURS: usize = 8;

/// How values lie on an axis.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Scale {
    Linear,
    /// Powers of ten are equally far apart; values begin above 0.
    Log,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    scale: Scale,
    min: f64,
    max: f64,
    /// Where lines are, and what stands there.
    ticks: Vec<(f64, String)>,
    title: String,
}

impl Axis {
    /// With lines at round numbers.
    pub fn new(
        scale: Scale,
        (min, max): (f64, f64),
        title: &str,
        label: impl Fn(f64) -> String,
    ) -> Axis {
        let at = match scale {
            Scale::Linear => linear(min, max),
            Scale::Log => decades(min, max),
        };
        let ticks = at.into_iter().map(|value| (value, label(value))).collect();
        Axis::with_ticks(scale, (min, max), title, ticks)
    }

    /// With lines where they are given.
    pub fn with_ticks(
        scale: Scale,
        (min, max): (f64, f64),
        title: &str,
        ticks: Vec<(f64, String)>,
    ) -> Axis {
        Axis {
            scale,
            min,
            max: if max > min { max } else { min + 1.0 },
            ticks,
            title: title.to_owned(),
        }
    }

    /// The part of the axis at which a value is.
    fn part(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.min) / (self.max - self.min),
            Scale::Log => (value / self.min).ln() / (self.max / self.min).ln(),
        };
        part.clamp(0.0, 1.0)
    }
}

fn linear(min: f64, max: f64) -> Vec<f64> {
    let raw = (max - min).max(1e-9) / 6.0;
    let decade = 10f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade);
    let step = steps.into_iter().find(|step| *step >= raw).unwrap_or(raw);
    let first = (min / step).ceil() as i64;
    (first..)
        .map(|index| index as f64 * step)
        .take_while(|value| *value <= max + step * 1e-6)
        .collect()
}

/// Powers of ten, and where that would be few lines 2 and 5 times these.
fn decades(min: f64, max: f64) -> Vec<f64> {
    let (first, last) = (min.log10().floor() as i32, max.log10().floor() as i32);
    let factors: &[f64] = if (max / min).log10() > 2.5 {
        &[1.0]
    } else {
        &[1.0, 2.0, 5.0]
    };
    (first..=last)
        .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)))
        .filter(|value| (min..=max).contains(value))
        .collect()
}

/// A chart that grows.
pub struct Chart {
    x: Axis,
    y: Axis,
    svg: String,
}

impl Chart {
    /// An empty one.
    pub fn new(name: &str, x: Axis, y: Axis) -> Chart {
        let mut chart = Chart {
            x,
            y,
            svg: format!(
                "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
                escape(name)
            ),
        };
        chart.grid();
        chart
    }

    fn grid(&mut self) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, label) in self.x.ticks.clone() {
            let x = self.at_x(value);
            self.put(&format!(
                "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                escape(&label)
            ));
        }
        for (value, label) in self.y.ticks.clone() {
            let y = self.at_y(value);
            self.put(&format!(
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                escape(&label)
            ));
        }
        let middle = (LEFT + right) / 2.0;
        let titles = format!(
            "<text class=\"title\" x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text class=\"title\" \
             transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 8.0,
            escape(&self.x.title),
            (TOP + bottom) / 2.0,
            escape(&self.y.title)
        );
        self.put(&titles);
    }

    fn at_x(&self, value: f64) -> f64 {
        LEFT + self.x.part(value) * (WIDTH - LEFT - RIGHT)
    }

    fn at_y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.part(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn put(&mut self, text: &str) {
        self.svg.push_str(text);
    }

    /// A line through points, in the colour of a series.
    pub fn line(&mut self, series: usize, name: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (x, y) in points {
            let (x, y) = (self.at_x(*x), self.at_y(*y));
            write!(path, "{x:.1},{y:.1} ").expect("strings take every write");
        }
        let dash = match series / COLOURS {
            0 => String::new(),
            round => format!(" stroke-dasharray=\"{} 3\"", 3 * round + 3),
        };
        self.put(&format!(
            "<polyline class=\"line\" style=\"stroke:var(--c{})\"{dash} points=\"{}\"><title>{}</title></polyline>",
            series % COLOURS,
            path.trim_end(),
            escape(name)
        ));
    }

    /// A field of a heat map: from and to on both axes, and how strong it is between 0 and 1.
    pub fn field(&mut self, x: (f64, f64), y: (f64, f64), strength: f64, name: &str) {
        let (left, right) = (self.at_x(x.0), self.at_x(x.1));
        let (low, high) = (self.at_y(y.0), self.at_y(y.1));
        self.put(&format!(
            "<rect class=\"heat\" x=\"{left:.1}\" y=\"{high:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
             fill-opacity=\"{strength:.3}\"><title>{}</title></rect>",
            (right - left).max(0.5),
            (low - high).max(0.5),
            escape(name)
        ));
    }

    /// The finished chart.
    pub fn finish(mut self) -> String {
        self.put("</svg>");
        self.svg
    }
}

/// Text as HTML has it.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
