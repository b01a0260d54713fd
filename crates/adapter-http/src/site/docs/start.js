// Starts the reader, with what its own markup lacks for those who read by ear or by keyboard.
const accessible = ({ React: { createElement: element } }) => ({
    wrapComponents: {
        // The only server is the one that the page came from.
        ServersContainer: () => () => null,
        // No screen reader reaches a link or a button inside the button of an operation.
        DeepLink: () => ({ text }) => element("span", null, text),
        CopyToClipboardBtn: () => () => null,
        // Tags are headings of the third level: below one of the second.
        operations: Original => props => element("section", { "aria-labelledby": "operations" },
            element("h2", { id: "operations", className: "aside" }, "Operations"), element(Original, props)),
    },
});

// What is shown later is given a name, and can be scrolled by keyboard.
const reader = document.getElementById("swagger-ui");
new MutationObserver(() => {
    for (const field of reader.querySelectorAll("tr[data-param-name] :is(select, input, textarea):not([aria-label])")) {
        field.setAttribute("aria-label", field.closest("tr").dataset.paramName);
    }
    for (const field of reader.querySelectorAll(":is(select, textarea):not([aria-label], [id])")) {
        field.setAttribute("aria-label", field.matches("textarea") ? "body" : "media type");
    }
    for (const button of reader.querySelectorAll(".copy-to-clipboard button:not([aria-label])")) {
        button.setAttribute("aria-label", "copy");
    }
    for (const example of reader.querySelectorAll("pre.microlight:not([tabindex])")) {
        example.tabIndex = 0;
    }
    for (const table of reader.querySelectorAll(".responses-table[role]:not([aria-label])")) {
        table.setAttribute("aria-label", table.id.replaceAll("_", " "));
    }
}).observe(reader, { childList: true, subtree: true });

window.ui = SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, plugins: [accessible] });
