export function mount(element, props) { element.textContent = "island " + JSON.stringify(props); }
