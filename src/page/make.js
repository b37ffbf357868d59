// How this page makes and finds elements. Text is only ever set as text: names and messages are strangers'.

export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export const the = (id) => document.getElementById(id);
