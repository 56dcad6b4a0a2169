// How numbers are written. record/units.py has the same rules, and a test compares the two; only the minus sign differs.
"use strict";
const nil = (v) => v === null || v === undefined || Number.isNaN(v);
const trim = (s) => (s.includes(".") && !s.includes("e") ? s.replace(/\.?0+$/, "") : s);

// Rounds half to even, as Python does: toFixed rounds a tie away from zero. 30 more digits show whether it is a tie.
function rounded(v, digits) {
  const near = v.toFixed(digits);
  const exact = v.toFixed(digits + 30);
  if (!exact.endsWith(`5${"0".repeat(29)}`)) return near;
  const cut = exact.slice(0, -30).replace(/\.$/, "");
  return Number(cut.at(-1)) % 2 ? near : cut;
}
function fix(v, digits = 1) {
  if (nil(v)) return "–";
  const text = rounded(v, digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}
function significant(v, digits = 3) {
  const exponent = Number(v.toExponential(16).split("e")[1]);
  return trim(fix(v, Math.max(0, digits - 1 - exponent)));
}
function si(v, digits = 3) {
  if (nil(v)) return "–";
  for (const [unit, size] of [
    ["G", 1e9],
    ["M", 1e6],
    ["k", 1e3],
  ]) {
    if (Math.abs(v) >= size) return `${significant(v / size, digits)} ${unit}`;
  }
  return significant(v, digits);
}
const whole = (v) => (Number(rounded(v, 0)) || 0).toLocaleString("en"); // no negative zero
function percent(v) {
  return nil(v) ? "–" : fix(v, v > 0 && v < 0.1 ? 3 : v < 10 ? 2 : 0);
}
function bytes(v) {
  if (nil(v)) return "–";
  let rest = v;
  for (const unit of ["B", "KiB", "MiB"]) {
    if (Math.abs(rest) < 1024) return `${fix(rest, unit === "B" || Math.abs(rest) >= 100 ? 0 : 1)} ${unit}`;
    rest /= 1024;
  }
  return `${fix(rest)} GiB`;
}
function seconds(v, digits = 1) {
  if (nil(v)) return "–";
  if (v > 0 && v < 1 && digits) return `${significant(v * 1000)} ms`;
  if (v < 120) return `${fix(v, digits)} s`;
  return v < 7200 ? `${fix(v / 60, digits)} min` : `${fix(v / 3600)} h`;
}
// A duration on an axis, where values are round: 30 s, 2 min.
const tick = (v) => seconds(v).replace(/\.0(?= )/, "");
const probability = (v) => (nil(v) ? "–" : v < 0.001 ? "< 0.001" : fix(v, 3));
function rate(v) {
  if (nil(v)) return "–";
  if (v === 0 || (Math.abs(v) >= 0.01 && Math.abs(v) < 1e5)) return String(Number(v.toPrecision(6))).replace("-", "−");
  const [mantissa, exponent] = v.toExponential(4).split("e");
  return `${Number(mantissa)}e${Number(exponent)}`.replaceAll("-", "−");
}
