// How this page makes and finds elements. Text is only ever set as text: names and messages are strangers'.

export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** The same for SVG, whose properties are attributes. */
export function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export const the = (id) => document.getElementById(id);

/** Sets a text only where it changed: the page is told once a second and most of it stays. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
