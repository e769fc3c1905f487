// Read the data and fill in the sections.

const data = JSON.parse(byId("data").textContent);
lead(data);
resultsTable(byId("results"), data);
curves(byId("curves"), data);
scatter(byId("scatter"), data);
examples(byId("examples"), data);
tokenPlots(byId("tokens"), data);
definitions(byId("definitions"), data);
run(byId("run"), data);
