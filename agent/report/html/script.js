// Without this script the page shows all cards, and videos play by their controls.
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) isIntersecting && !still ? target.play().catch(() => {}) : target.pause();
});
document.querySelectorAll("video").forEach((video) => seen.observe(video));

const browser = document.querySelector(".browser");
if (browser) {
  const page = innerWidth < 700 ? 4 : 9, cards = [...browser.querySelectorAll(".card")], choices = [...browser.querySelectorAll("select")];
  const more = browser.querySelector("button"), count = browser.querySelector("output");
  let room = page;
  const show = () => {
    const found = cards.filter((card) => choices.every((choice) => !choice.value || card.dataset[choice.name] === choice.value));
    const shown = new Set(found.slice(0, room));
    cards.forEach((card) => { card.hidden = !shown.has(card); });
    more.hidden = shown.size === found.length;
    count.textContent = `${shown.size} of ${found.length}`;
  };
  choices.forEach((choice) => choice.addEventListener("change", () => { room = page; show(); }));
  more.addEventListener("click", () => { room += page; show(); });
  browser.querySelector(".filters").hidden = false;
  show();
}
