// How this page makes elements.

/** An element with these properties and children. Text is only ever set as text: names and messages are strangers'. */
export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** The element of this id, which index.html has. */
export const the = (id) => document.getElementById(id);
