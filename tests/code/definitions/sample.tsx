export const App: React.FC<Props> = ({ a }) => <Box on={() => a}>{a}</Box>;
export default function Page<T extends {}>(props: T) { const go = () => {}; return <App />; }
@Late class Button extends React.Component { render() { return <i /> } }
